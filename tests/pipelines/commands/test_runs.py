"""The list of the runs of a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.commands import runs
from tests.pipelines.stored_runs import remembered


def test_the_list_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runs.main(["--artifacts", str(tmp_path)]) == 0
    assert "there are no runs" in capsys.readouterr().out
    rows = [
        {"status": "ok", "backend": "onnxruntime", "precision": "fp32", "map": 41.5, "speedup": {"runtime": None}},
        {
            "status": "ok",
            "backend": "onnxruntime",
            "precision": "int8",
            "map": 40.9,
            "speedup": {"runtime": 2.61},
            "engine_bytes": 2_300_000,
        },
        {"status": "failed", "backend": "openvino", "precision": "int8", "map": None, "speedup": {"runtime": 9.0}},
    ]
    done = remembered(tmp_path, "20260101-a", model="tiny", data="shapes", started="2026-01-01T10:00:00Z")
    (done / "report.json").write_text(json.dumps({"rows": rows}))
    remembered(tmp_path, "20260102-b", status="RUNNING")
    assert runs.main(["--json", "--artifacts", str(tmp_path)]) == 0
    listed = json.loads(capsys.readouterr().out)["runs"]
    assert [(r["id"], r["status"]) for r in listed] == [("20260102-b", "KILLED"), ("20260101-a", "FINISHED")]
    assert (listed[1]["map_fp32"], listed[1]["map"], listed[1]["speedup"]) == (41.5, 40.9, 2.61)
    runs.main(["--artifacts", str(tmp_path), "--last", "2"])
    shown = capsys.readouterr().out
    assert "2.61x" in shown and "2.3 MB" in shown and "None" not in shown


def shown_at(width: int, artifacts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The table on a terminal of that width."""
    from rich.console import Console

    monkeypatch.setattr(runs, "stdout_console", lambda width_of_logs: Console(highlight=False, width=width))
    assert runs.main(["--artifacts", str(artifacts)]) == 0
    return capsys.readouterr().out


def report(gates: list[str]) -> str:
    row = {"status": "ok", "backend": "paddle_inference", "precision": "int8", "map": 40.9, "engine_bytes": 2_300_000}
    rows = [{**row, "speedup": {"runtime": 1.6}}, {**row, "precision": "fp32", "map": 41.5}]
    return json.dumps({"rows": rows, "gates": [{"verdict": verdict} for verdict in gates]})


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits_and_breaks_no_word(
    tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(3):
        name = f"2026010{i}-101500-ppyoloe_plus_t-a_long_name_of_a_data_set-{i}abc"
        more = {"model": f"ppyoloe_plus_{i}", "data": "a_long_name_of_a_data_set", "pipeline": "retrain"}
        folder = remembered(tmp_path, name, started="2026-01-01T10:00:00Z", **more)
        (folder / "report.json").write_text(report(["pass"] * 9 + ["fail"] * 3))
    lines = shown_at(width, tmp_path, monkeypatch, capsys).splitlines()
    assert len(lines) == 5 and max(len(line.rstrip()) for line in lines[:4]) <= width
    text = "\n".join(lines)
    for word in ("2abc", "1abc", "0abc", "gates 9/12", "data: a_long_name_of_a_data_set", "backend: paddle_inference"):
        assert word in text
    models = {f"ppyoloe_plus_{i}" for i in range(3)}
    assert ("ppyoloe" in text) == (models <= set(text.split())) == (width > 60)  # whole or not at all
    assert ("in a wider terminal also: " in lines[-1]) == (width < 120)


def test_each_kind_of_run_has_its_outcome(tmp_path: Path) -> None:
    kept = remembered(tmp_path, "20260101-kept", pipeline="retrain")
    (kept / "report.json").write_text(report(["pass"]))
    (kept / "promotion.json").write_text(json.dumps({"gates": [{"verdict": "pass"}, {"verdict": "fail"}]}))
    won = remembered(tmp_path, "20260102-wonn", pipeline="promote")
    (won / "promotion.json").write_text(json.dumps({"gates": [{"verdict": "pass"}]}))
    remembered(tmp_path, "20260103-sens", pipeline="sensitivity")
    remembered(tmp_path, "20260104-kill", pipeline="compress", status="RUNNING")
    remembered(tmp_path, "20260105-fail", pipeline="compress", status="FAILED")
    remembered(tmp_path, "20260106-best", pipeline="retrain")
    (tmp_path / "retrain").mkdir()
    (tmp_path / "retrain" / "history.jsonl").write_text(
        json.dumps({"outcome": "promoted", "run_id": "20260106-best"}) + "\n"
    )
    found = {}
    for folder in (tmp_path / "runs").iterdir():
        found[folder.name[-4:]] = runs.row(folder, {"20260106-best"})["outcome"]
    assert found == {
        "kept": "gates 1/2",  # against the champion, not the report's own
        "wonn": "promoted",
        "sens": "done",
        "kill": "interrupted",
        "fail": "failed",
        "best": "promoted",
    }


SHARED = "invalid: CPU shared with the load of other processes (77% of its time)"


def test_a_disturbed_speed_up_and_gates_that_could_not_be_judged_are_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, ratio in (("20260101-good", "valid"), ("20260102-loud", SHARED)):
        made = json.loads(report(["pass"] * 9 + ["not judged"] * 3))
        made["rows"][0] |= {"validity": {"runtime": SHARED}, "speedup_validity": {"runtime": ratio}}
        (remembered(tmp_path, name) / "report.json").write_text(json.dumps(made))
    lines = shown_at(120, tmp_path, monkeypatch, capsys).splitlines()
    assert "1.60x*" in lines[1] and "gates 9/12, 3 not judged" in lines[1]
    assert "1.60x " in lines[2] + " " and "1.60x*" not in lines[2]  # the ratio decides, not the times
    assert "* timing disturbed: the number cannot be relied on" in "\n".join(lines[3:])
    assert runs.main(["--json", "--artifacts", str(tmp_path)]) == 0
    listed = json.loads(capsys.readouterr().out)["runs"]
    assert [(r["speedup_verdict"], r["gates_not_judged"]) for r in listed] == [(SHARED, 3), ("valid", 3)]


COMMAND_OF = {"promotion": "promote", "sensitivity": "sensitivity"}


def test_the_report_of_a_promotion_and_of_a_sensitivity_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, name in (("promotion", "20260101-aaaa"), ("sensitivity", "20260102-bbbb"), ("", "20260103-cccc")):
        folder = remembered(tmp_path, name, pipeline=COMMAND_OF.get(kind, "compress"))
        if kind:
            (folder / f"{kind}.md").write_text(f"# About the {kind}\n")
            (folder / f"{kind}.json").write_text(json.dumps({"kind": kind}))
    where = ["--artifacts", str(tmp_path)]
    for kind, end in (("promotion", "aaaa"), ("sensitivity", "bbbb")):
        assert main(["report", end, *where]) == 0
        assert capsys.readouterr().out == f"# About the {kind}\n"
        assert main(["report", end, "--json", *where]) == 0
        assert json.loads(capsys.readouterr().out) == {"kind": kind}
        assert main(["report", end, "--html", *where]) == 2
        assert f"there is {kind}.md, shown without --html" in " ".join(capsys.readouterr().err.split())
        assert main(["compare", end, end, *where]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"is of `detpress {COMMAND_OF[kind]}`, which measures no table of engines" in said
    assert main(["report", "cccc", *where]) == 2
    assert "has no report.md: the run did not get that far" in " ".join(capsys.readouterr().err.split())


def test_four_digits_name_a_run_where_one_ends_so_and_else_a_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = remembered(tmp_path, "20260101-101500-tiny-shapes-4821")
    (folder / "config.yaml").write_text("tracking: {enabled: false}\n")
    told = {}
    for word in ("4821", "v4821", "4822"):
        assert main(["promote", word, "--artifacts", str(tmp_path)]) == 2
        told[word] = " ".join(capsys.readouterr().err.split())
    no_registry = "there is no MLflow store under"
    assert no_registry in told["v4821"] and no_registry in told["4822"]
    assert "tracking.enabled: the run was not tracked" in told["4821"]
