"""The index beside the runs changes how many files a command opens, never what it says."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.runs import index
from pipelines.system.run_lock import alive
from tests.conftest import ROOT
from tests.pipelines.drawn_runs import draw_runs

MANY = 2000
_opened: list[str] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event == "open" and isinstance(arguments[0], str):
        _opened.append(arguments[0])


sys.addaudithook(_audit)  # it cannot be taken away again


@contextmanager
def opened(folder: Path) -> Iterator[list[str]]:
    """The files under a folder that are opened meanwhile, from the folder on."""
    global _opened
    found: list[str] = []
    _opened = []
    try:
        yield found
    finally:
        found += [os.path.relpath(name, folder) for name in _opened if Path(name).is_relative_to(folder)]
        _opened = None


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was drawn just now is kept."""
    monkeypatch.setattr(index, "SETTLED", -(10**12))


def commands(artifacts: Path) -> list[list[str]]:
    newest = sorted(path.parent.name for path in (artifacts / "runs").glob("*/report.json"))[-1]
    where = ["--artifacts", str(artifacts)]
    return [["runs", *where], ["runs", "--json", *where], ["trend", newest, "--json", "--last", "500", *where]]


def said(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(command) == 0
    out = capsys.readouterr()
    assert out.err == ""
    return out.out


def everything(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [said(command, capsys) for command in commands(artifacts)]


def without(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is said where no index is, and none can be written."""
    (artifacts / index.NAME).unlink(missing_ok=True)
    (artifacts / index.NAME).mkdir()
    try:
        return everything(artifacts, capsys)
    finally:
        (artifacts / index.NAME).rmdir()


@pytest.mark.slow
def test_thousands_of_runs_are_listed_from_the_index_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_runs(tmp_path, MANY, images=3)
    expected = without(tmp_path, capsys)
    assert len(json.loads(expected[1])["runs"]) == MANY and len(json.loads(expected[2])["points"]) > 200
    with opened(tmp_path) as first:
        assert everything(tmp_path, capsys) == expected
    assert len(set(first)) > MANY
    with opened(tmp_path) as second:
        assert everything(tmp_path, capsys) == expected
    newest = os.path.relpath(tmp_path / "runs" / commands(tmp_path)[2][1], tmp_path)
    assert set(second) == {index.NAME, f"{newest}/report.json"}  # the trend of which model, data and backend
    assert len(second) == 4


def test_what_changes_in_a_run_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = draw_runs(tmp_path, 30)
    before = everything(tmp_path, capsys)
    reported = [folder for folder in folders if (folder / "report.json").is_file()]
    text = (reported[0] / "report.json").read_text()
    (reported[0] / "report.json").write_text(text.replace('"map": ', '"map": 1'))  # 48.1 becomes 148.1
    (reported[1] / "run.json").unlink()
    (reported[2] / "promotion.json").write_text(json.dumps({"gates": [{"verdict": "fail"}] * 7}))
    shutil.rmtree(reported[3])
    for key in (tmp_path / "store" / "accuracy").iterdir():  # as `gc` removes them
        shutil.rmtree(key)
    after = everything(tmp_path, capsys)
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert "gates 0/7" in after[0] and reported[3].name not in after[1]
    assert '"low": null' in after[2] or "map" not in after[2]
    assert after == everything(tmp_path, capsys) == without(tmp_path, capsys)
    assert main(["runs", "--artifacts", str(tmp_path)]) == 0
    assert reported[3].name not in (tmp_path / index.NAME).read_text()


def test_a_file_of_the_same_size_and_time_is_seen_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = draw_runs(tmp_path, 3)
    before = everything(tmp_path, capsys)
    path = folders[0] / "run.json"
    times = path.stat().st_mtime_ns
    path.write_text(path.read_text().replace("FINISHED", "FAILED  "))
    os.utime(path, ns=(times, times))
    assert everything(tmp_path, capsys) == without(tmp_path, capsys) != before


def test_what_was_written_just_now_is_not_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "SETTLED", 10**15)
    draw_runs(tmp_path, 3)
    everything(tmp_path, capsys)
    assert not (tmp_path / index.NAME).exists()


def test_a_run_in_progress_is_read_fresh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = draw_runs(tmp_path, 4)
    path = folders[0] / "run.json"
    path.write_text(path.read_text().replace("FINISHED", "RUNNING"))
    with alive(folders[0]):
        assert "RUNNING" in everything(tmp_path, capsys)[1]
        assert folders[0].name not in (tmp_path / index.NAME).read_text()
    assert "KILLED" in everything(tmp_path, capsys)[1]


DAMAGES = {
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[: len(whole) // 2],
    "a byte": lambda whole: whole.replace(b"FINISHED", b"FINISHEX", 1),
    "a digit": lambda whole: whole[:-30] + bytes([whole[-30] ^ 1]) + whole[-29:],
    "noise": lambda whole: bytes(range(256)) * 9,
    "deep": lambda whole: whole.partition(b"\n")[0] + b"\n" + b"[" * 100_000,
    "another version": lambda whole: whole.replace(b'"code": "', b'"code": "0', 1),
    "a pickle": lambda whole: b"cos\nsystem\n(S'touch y'\ntR.",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_made_anew_without_a_word(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_runs(tmp_path, 5)
    expected, file = everything(tmp_path, capsys), tmp_path / index.NAME
    whole = file.read_bytes()
    file.write_bytes(DAMAGES[damage](whole))
    assert file.read_bytes() != whole
    assert everything(tmp_path, capsys) == expected
    assert file.read_bytes() == whole and sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [index.NAME, "runs", "store"]
    )


def signed(whole: bytes, old: bytes, new: bytes) -> bytes:
    """An index that says of itself that it is whole."""
    import hashlib

    head, _, body = whole.partition(b"\n")
    changed = body.replace(old, new)
    assert changed != body
    return json.dumps({**json.loads(head), "sha256": hashlib.sha256(changed).hexdigest()}).encode() + b"\n" + changed


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"listed":{', b'"listed":[],"x":{'), (b'"listed":{', b'"listed":{"gates":["a"],"started":'),
     (b'"engines":[{', b'"engines":[7,{'), (b'"bounds":[', b'"bounds":["a",'), (b'"point":{', b'"point":[],"x":{')],
)  # fmt: skip
def test_records_of_another_shape_are_made_anew(
    tmp_path: Path, old: bytes, new: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_runs(tmp_path, 5)
    expected, file = everything(tmp_path, capsys), tmp_path / index.NAME
    file.write_bytes(signed(file.read_bytes(), old, new))
    assert everything(tmp_path, capsys) == expected


def test_what_is_no_file_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_runs(tmp_path, 3)
    expected = without(tmp_path, capsys)
    os.mkfifo(tmp_path / index.NAME)
    assert everything(tmp_path, capsys) == expected
    assert stat.S_ISFIFO((tmp_path / index.NAME).stat().st_mode)
    (tmp_path / index.NAME).unlink()
    (tmp_path / f"{index.NAME}.new").symlink_to(tmp_path / "elsewhere")
    assert everything(tmp_path, capsys) == expected
    assert not (tmp_path / "elsewhere").exists() and not (tmp_path / index.NAME).exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_only_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_runs(tmp_path, 3)
    expected = without(tmp_path, capsys)
    tmp_path.chmod(0o555)
    try:
        assert everything(tmp_path, capsys) == expected
        assert not (tmp_path / index.NAME).exists()
    finally:
        tmp_path.chmod(0o755)


def test_many_write_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines.commands.runs import row
    from pipelines.runs import history

    draw_runs(tmp_path, 20)
    expected, wrong = everything(tmp_path, capsys), list[object]()

    def work(number: int) -> None:
        for turn in range(10):
            (tmp_path / index.NAME).unlink(missing_ok=True) if turn % 3 == number % 3 else None
            with index.Index(tmp_path) as own:
                rows = [row(folder, (), own) for folder in history.folders(tmp_path)[number:]]
            if rows != json.loads(expected[1])["runs"][number:]:
                wrong.append(rows)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert everything(tmp_path, capsys) == expected
    assert not (tmp_path / f"{index.NAME}.new").exists()
    with opened(tmp_path) as files:
        assert everything(tmp_path, capsys) == expected
    assert len(set(files)) == 2


def test_an_interruption_keeps_what_was_read(tmp_path: Path) -> None:
    folders = draw_runs(tmp_path, 4)
    with pytest.raises(KeyboardInterrupt), index.Index(tmp_path) as own:
        own.get(folders[0], "kind", int, lambda folder: index.Made(7, final=True))
        raise KeyboardInterrupt
    with index.Index(tmp_path) as own:
        assert own.get(folders[0], "kind", int, lambda folder: index.Made(8, final=True)) == 7
        assert own.get(folders[1], "kind", int, lambda folder: index.Made(8, final=False)) == 8


LOADED = """
import sys
from pipelines.cli import main
assert main(["trend", sys.argv[1], "--last", "50", "--artifacts", sys.argv[2]]) == 0
print(sorted({"numpy", "matplotlib", "mlflow", "hydra"} & set(sys.modules)))
"""


def test_a_trend_from_the_index_loads_neither_numpy_nor_matplotlib(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their imports took longer than all else of the command; its page has the picture all the same."""
    folders = draw_runs(tmp_path, 30, images=3)
    newest = [path.name for path in folders if (path / "report.json").is_file()][-1]
    said(["trend", newest, "--last", "50", "--artifacts", str(tmp_path)], capsys)  # writes the index
    (tmp_path / "trend.html").unlink()
    words = [sys.executable, "-c", LOADED, newest, str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    page = (tmp_path / "trend.html").read_text()
    assert page.count("<svg") == 1 and 'class="course"' in page and newest in page
