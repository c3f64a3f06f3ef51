"""Names that look like markup, formulas, emojis or commands to a terminal, through everything that is printed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines.cli import main
from pipelines.execution.events import RunInfo, StageInfo
from pipelines.runs.console import ConsoleObserver
from pipelines.runs.tables import print_table, print_tables, stdout_console
from pipelines.scheduling import records
from pipelines.system.failures import tell
from pipelines.tracking.names import result_table, run_note
from stages.errors import InputError
from stages.outside.text import plain
from stages.report.tables import Table
from tests.pipelines.runs.test_remembered import REPORT, ROW
from tests.pipelines.stored_runs import remembered, stored

NAMES = [
    *("[/x]", "[red]x", "[bold", "\\[x]", "x\\", ":smile:", "[link=http://h]x[/link]"),
    *("$x^$", "\x1b[2Jx", "{x}", "%s"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_table_shows_a_name_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(Table(f"t {name}", [f"h {name}"], [[f"c {name}"]]), stdout_console())
    shown = capsys.readouterr().out
    assert all(f"{where} {plain(name)}" in shown for where in "thc") and "\x1b" not in shown


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_show_a_name_as_it_is(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {**ROW, "latency": {mode: {"median_ms": 1.0} for mode in ("runtime", "end2end")}}
    for run in "12":
        folder = remembered(tmp_path, run, stored(tmp_path, run), model=name, data=name, started=name, status=name)
        content = {**REPORT, "run_id": name, "model": name, "data": name, "hardware": f"{name}{run}", "rows": [row]}
        (folder / "report.json").write_text(json.dumps(content))
    records.append(tmp_path, {"schedule": name, "outcome": name, "reason": name, "ended": name})
    (tmp_path / "store" / "stub" / "[x]").mkdir()
    for command in (["runs"], ["compare", "1", "2"], ["trend", "1"], ["schedule", "history"], ["gc", "--keep-last=0"]):
        dry = ["--dry-run"] if command[0] == "gc" else []
        code = main([*command, *dry, "--artifacts", str(tmp_path)])
        said = capsys.readouterr()
        assert code == 0, (command, said)
        assert "\x1b" not in said.out and "😄" not in said.out
        assert command[0] == "gc" or plain(name).strip() in said.out, (command, said.out)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_on_the_terminal_shows_a_name_as_it_is(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    observer = ConsoleObserver(Console(file=stream, width=200, highlight=False, emoji=False))
    stage = StageInfo(id="build", stage="build", key="k")
    observer.run_started(
        RunInfo(
            run_id="r",
            name=name,
            pipeline="p",
            model=name,
            data=name,
            config={},
            command=name,
            hardware=name,
            commit=None,
            run_dir=tmp_path,
        )
    )
    for kind in ("warning", "info"):
        observer.stage_event(stage, {"event": kind, "message": f"m {name}"})
    observer.stage_failed(stage, InputError(f"e {name}"), 1.0)
    escaped = name.replace("\x1b", "\\x1b")  # an error shows what it is; a note only loses its power
    assert stream.getvalue().count(f"m {plain(name)}") == 2 and f"e {escaped}" in stream.getvalue()
    assert f"{plain(name)} on {plain(name)}, {plain(name)}" in stream.getvalue() and "\x1b" not in stream.getvalue()
    tell(InputError(f"e {name}"), debug=False)
    assert f"error: e {escaped}" in capsys.readouterr().err


def test_an_error_tells_no_secret_of_a_url(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (
        InputError("see https://u:hunter2@h/x?sig=hunter2"),
        RuntimeError("https://u:hunter2@h/x?sig=hunter2"),
    ):
        tell(error, debug=False)
        said = capsys.readouterr().err
        assert "https://h/x" in said and "hunter2" not in said


def test_a_report_is_printed_with_any_name(capsys: pytest.CaptureFixture[str]) -> None:
    content: Any = {**REPORT, "method": "m", "rows": [], "gates": [], "failures": [], "float_blocks": None}
    for name in NAMES:
        gate = {"gate": name, "backend": name, "precision": "fp32", "limit": 1.0, "value": None, "of": name}
        print_tables({**content, "gates": [{**gate, "margin": None, "verdict": "fail", "reason": name}]})
        assert plain(name) in capsys.readouterr().out


MARKUP = ["![x](http://h/a.png)", "[x](http://h)", "<img src=http://h>", "a|b", "```\n# x", "`x`", "*x*", "\n# x"]


@pytest.mark.parametrize("name", MARKUP)
def test_a_description_in_mlflow_loads_nothing_and_links_nowhere(name: str) -> None:
    from markdown_it import MarkdownIt

    render = MarkdownIt("commonmark").enable(["table"]).render
    row = {"backend": name, "precision": "int8", "status": name, "map": 1.0, "latency": {}, "speedup": {}}
    failed = {"summary": {"error": f"it failed: {name}"}, "status": "FAILED"}
    for note in (result_table([row]), run_note({"command": f"detpress {name}"}, failed, None)):
        made = render(note)
        assert not any(element in made for element in ("<img", "<a ", "<em>", "<h1>")), made
