"""The end of a run in words: which engine, how much faster, what it costs, which gates fail by how much, what next."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines import compress
from pipelines.runs.verdict import gate_lines, next_steps, print_next, print_verdict, verdict
from stages.options.gate import GateOptions
from stages.report.gates import evaluate_gates
from stages.report.schema import GateVerdict, ReportContent, Row
from stages.report.ship import choose_ship
from stages.report.verdict import verdict as page_verdict
from tests.pipelines import small
from tests.stages.report.test_ship import rows_of


def rows(folder: Path, drop: tuple[float, float, float] | None = (0.22, -0.15, 0.61), **medians: float) -> list[Row]:
    """Timings of an engine each; ``drop`` is what all but FP32 lose: points, and the interval."""
    made = rows_of(folder, 0, **(medians or {"fp32": 20.0, "int8": 8.0}))
    for row in made:
        row["map"], row["engine_bytes"], row["threads"] = 57.6, 8_100_000, 1
        if row["precision"] != "fp32":
            row["engine_bytes"], row["map"] = 2_300_000, 57.6 - (drop[0] if drop else 0.22)
            row["map_drop"] = 57.6 - row["map"]
            row["agreement"] = {}  # type: ignore[typeddict-item]
            if drop is not None:
                value, low, high = drop
                row["difference"] = {"map": {"value": -value, "low": -high, "high": -low}}
    return made


def content(made: list[Row], gates: list[GateVerdict] | None = None, **more: Any) -> ReportContent:
    whole: Any = {
        "rows": made,
        "gates": gates or [],
        "ship": choose_ship(made),
        "hardware": "Some CPU (2 cores)",
        "command": "detpress compress experiment=demo",
        "float_blocks": None,
        **more,
    }
    return whole  # type: ignore[no-any-return]


def test_three_lines_say_which_how_much_faster_what_it_costs_and_what_it_took(tmp_path: Path) -> None:
    made = content(rows(tmp_path))
    speed, accuracy, size = verdict(made, 168.0)
    ship = made["ship"]
    assert ship is not None and ship["over_fp32"] is not None
    over = ship["over_fp32"]  # the report's own numbers
    assert speed.startswith(
        f"Use openvino INT8: {over['median']:.2f} times (95 %: {over['low']:.2f} to {over['high']:.2f}) as fast as FP32"
    )
    assert speed.endswith("(on Some CPU (2 cores), 1 thread).")
    assert accuracy == (
        "Accuracy: mAP 57.4; it loses 0.2 points against FP32 (95 %: -0.1 to +0.6), which cannot be told from zero."
    )
    assert size == "Size: 2.3 MB instead of 8.1 MB. The run took 2 min 48 s."


@pytest.mark.parametrize(
    ("drop", "said"),
    [
        ((0.8, 0.5, 0.9), "it loses 0.8 points against FP32 (95 %: +0.5 to +0.9), which is a certain loss."),
        ((-0.4, -0.7, -0.1), "it gains 0.4 points against FP32 (95 %: +0.1 to +0.7), which is a certain gain."),
        (
            (-0.1, -0.9, 0.65),
            "it gains 0.1 points against FP32 (95 %: -0.7 to +0.9), which cannot be told from zero.",
        ),
        (None, "Accuracy: mAP 57.4."),
    ],
)
def test_a_loss_is_certain_or_cannot_be_told_from_zero(
    drop: tuple[float, float, float] | None, said: str, tmp_path: Path
) -> None:
    made = rows(tmp_path, drop)
    report = content(made)
    assert report["ship"] is not None and report["ship"]["precision"] == "int8"
    assert verdict(report, 1.0)[1].endswith(said)


def test_without_labels_it_says_so(tmp_path: Path) -> None:
    made = rows(tmp_path, None)
    for row in made:
        row["map"] = None
    assert verdict(content(made), 1.0)[1] == "Accuracy: not measured, since there are no labels."


def test_a_float_engine_is_named_with_why(tmp_path: Path) -> None:
    lines = verdict(content(rows(tmp_path, fp32=100.0, bf16=50.0, int8=50.5)), 1.0)
    assert lines[0].startswith("Use openvino BF16: ")
    assert lines[3].startswith("No INT8 engine is faster with certainty: openvino INT8 has ")


def test_what_the_report_says_of_a_disturbed_timing_is_passed_on(tmp_path: Path) -> None:
    made = rows(tmp_path)
    for row in made:
        row["validity"]["runtime"] = "invalid: drift between rounds (12%)"
    report = content(made)
    assert report["ship"] is not None
    assert verdict(report, 1.0)[3] == report["ship"]["sentence"].partition(". ")[2] != ""
    text = printed(report, tmp_path, terminal=False)
    assert "* 2 of 2 timings are not valid; the report says each, the first is openvino FP32" in text


def test_one_engine_alone_is_no_choice_and_none_is_said(tmp_path: Path) -> None:
    only = rows(tmp_path)[:1]
    assert verdict(content(only), 1.0)[:2] == [
        f"Use openvino FP32: {only[0]['latency']['runtime']['median_ms']:.2f} ms "  # type: ignore[index]
        "(on Some CPU (2 cores), 1 thread).",
        "Accuracy: mAP 57.6; it is the reference.",
    ]
    failed = rows_of(tmp_path, 1, fp32=10.0)
    failed[0]["status"], failed[0]["error"] = "failed", "the build crashed\nwith a trace"
    assert verdict(content(failed), 1.0) == [
        "No engine can be used. openvino FP32: the build crashed.",
        "The run took 1 s.",
    ]


def test_engines_that_all_lose_too_much_are_not_recommended(tmp_path: Path) -> None:
    made = rows(tmp_path, (3.0, 2.0, 4.0), bf16=50.0, int8=30.0)
    report = content(made)
    assert report["ship"] is None
    assert [purpose for _, purpose in next_steps(report, tmp_path / "runs" / "r")] == ["every number"]
    assert verdict(report, 1.0)[0].startswith("No engine is fit to be used. Each loses more mAP")


def chosen(folder: Path) -> list[Row]:
    return rows(folder)


def disturbed(folder: Path) -> list[Row]:
    made = rows(folder)
    for row in made:
        row["validity"]["runtime"] = row["speedup_validity"]["runtime"] = "invalid: drift between rounds (12%)"
    return made


def alone_and_disturbed(folder: Path) -> list[Row]:
    only = rows(folder)[:1]
    only[0]["validity"]["runtime"] = "invalid: drift between rounds (12%)"
    return only


def failed(folder: Path) -> list[Row]:
    made = rows_of(folder, 1, fp32=10.0)
    made[0]["status"], made[0]["error"] = "failed", "the build crashed"
    return made


def untimed(folder: Path, score: float | None) -> list[Row]:
    made = rows(folder)
    for row in made:
        row["latency"]["runtime"], row["map"] = None, score
    return made


@pytest.mark.parametrize(
    ("made", "kind", "said"),
    [
        (chosen, "good", "Use openvino INT8"),
        (lambda folder: rows(folder)[:1], "good", "Use openvino FP32"),
        (disturbed, "unsure", "Use openvino INT8, once a quiet timing confirms it"),
        (alone_and_disturbed, "unsure", "Use openvino FP32, once a quiet timing confirms it"),
        (lambda folder: rows(folder, (3.0, 2.0, 4.0), bf16=50.0, int8=30.0), "none", "No engine is fit to be used"),
        (failed, "none", "No engine can be used"),
        (lambda folder: untimed(folder, 57.0), "none", "No engine can be used"),
        (lambda folder: untimed(folder, None), "none", "No engine can be used"),
    ],
)
def test_the_terminal_and_the_page_say_the_same(
    made: Callable[[Path], list[Row]], kind: str, said: str, tmp_path: Path
) -> None:
    """One function has the words (`stages/report/conclusion.py`); MLflow shows those of the page."""
    report = content(made(tmp_path))
    page, terminal = page_verdict(report), verdict(report, 1.0)
    assert page is not None and (page.kind, page.headline) == (kind, said)
    colon = ": " if kind != "none" else ". "
    assert terminal[0].startswith(f"{said}{colon}")
    if kind == "none":
        assert page.why.startswith(terminal[0].removeprefix(f"{said}. "))
    elif report["ship"] is not None:
        assert all(sentence in page.why for sentence in terminal[3:])


@pytest.mark.parametrize(
    ("drop", "said"),
    [
        ((0.8, 0.5, 0.9), "is a certain loss"),
        ((-0.4, -0.7, -0.1), "is a certain gain"),
        ((-0.1, -0.9, 0.65), "cannot be told from zero"),
        ((0.5, 0.0, 0.9), "cannot be told from zero"),
    ],
)
def test_both_say_the_same_of_a_change_of_accuracy(drop: tuple[float, float, float], said: str, tmp_path: Path) -> None:
    made = rows(tmp_path, drop)
    for row in made:
        row["map_drop"] = None if row["precision"] == "fp32" else drop[0]
    report = content(made)
    page = page_verdict(report)
    assert page is not None and [card.badge for card in page.cards if card.name == "mAP change, points"] == [said]
    assert verdict(report, 1.0)[1].endswith(f", which {said}.")


GATES = GateOptions(max_map_drop=0.5, min_speedup=3.0, max_engine_mb=4.0, min_int8_share=0.9)


def test_a_failed_gate_is_named_with_by_how_much(tmp_path: Path) -> None:
    first, *failed = gate_lines(evaluate_gates(rows(tmp_path), GATES))
    assert first == "Gates: 3 of 4 failed:"
    assert failed[0] == (
        "  max_map_drop of openvino INT8: 0.61 (mAP, upper bound of the drop) where at most 0.5 is asked for, "
        "0.11 too much"
    )
    assert failed[1].startswith("  min_speedup of openvino INT8: 2.") and " too little" in failed[1]
    assert failed[2] == "  min_int8_share of openvino INT8: not measured"


def test_gates_that_hold_are_one_line(tmp_path: Path) -> None:
    made = rows(tmp_path)
    assert gate_lines(evaluate_gates(made, GateOptions(max_map_drop=1.0, min_speedup=1.5))) == ["Gates: all 2 hold."]
    assert gate_lines([]) == []


def test_a_gate_that_is_open_is_not_called_failed(tmp_path: Path) -> None:
    (gate,) = evaluate_gates(rows(tmp_path), GateOptions(min_speedup=1.5))
    other: GateVerdict = {**gate, "verdict": "undecided", "reason": "its interval has the limit in it"}
    first, told = gate_lines([gate, other])
    assert first == "Gates: 1 of 2 could not be judged:"
    assert told.endswith("its interval has the limit in it")


def test_many_failed_gates_are_counted(tmp_path: Path) -> None:
    (gate,) = evaluate_gates(rows(tmp_path), GateOptions(min_speedup=9.0))
    lines = gate_lines([gate] * 9)
    assert lines[0] == "Gates: 9 of 9 failed:" and len(lines) == 8 and lines[-1] == "  and 3 more, see the report"


def printed(report: ReportContent, folder: Path, width: int = 80, terminal: bool = True) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=terminal, no_color=True, highlight=False, markup=False)
    print_verdict(report, folder / "artifacts" / "runs" / "20260101-000000-m-d-ab12", 61.0, console)
    return stream.getvalue()


def test_it_fits_eighty_columns_and_a_file_gets_a_line_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "artifacts" / "runs" / "20260101-000000-m-d-ab12").mkdir(parents=True)
    made = rows(tmp_path)
    report = content(made, evaluate_gates(made, GATES))
    text = printed(report, tmp_path)
    plain = text.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert max(len(line) for line in plain.splitlines()) <= 80
    table, said, following = printed(report, tmp_path, terminal=False).split("\n\n")
    assert len(table.splitlines()) == 3 and said.splitlines()[0].startswith("Use ")
    assert said.splitlines()[3].startswith("Gates: ")
    assert following.splitlines() == [
        "Report: artifacts/runs/20260101-000000-m-d-ab12/report.html",
        "Next:   detpress sensitivity experiment=demo  which blocks lose the mAP",
        "        detpress bundle ab12 backend=openvino  pack it for another machine",
        "        detpress report ab12  every number",
    ]


def test_the_commands_name_the_run_its_folder_and_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "other" / "runs" / "20260101-000000-m-d-ab12"
    run.mkdir(parents=True)
    report = content(rows(tmp_path, fp32=100.0, bf16=50.0, int8=50.5))
    assert [command for command, _ in next_steps(report, run)] == [
        "detpress bundle ab12 backend=openvino precision=bf16 --artifacts other",
        "detpress report ab12 --artifacts other",
    ]


def test_a_command_is_never_wrapped_and_markup_in_it_is_text() -> None:
    stream = io.StringIO()
    print_next([("detpress compress 'data.root=[red]x' " + "y" * 100, "why")], Console(file=stream, width=80))
    assert stream.getvalue() == f"Next:   detpress compress 'data.root=[red]x' {'y' * 100}  why\n"


@pytest.mark.slow
def test_a_run_ends_with_it_and_says_little_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real stages on a detector that needs no training."""
    small.draw(tmp_path, "train", 4, seed=1)
    small.draw(tmp_path, "val", 4, seed=2)
    small.weights(tmp_path, 0.0, "first")
    config = small.small_config(tmp_path)
    config.tracking.enabled, config.gate.max_engine_mb = False, 5.0
    monkeypatch.setattr(compress, "compress_graph", small.small_graph)
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        outcome = compress.run_compress(config, command=["detpress", "compress"])
        out, err = capsys.readouterr()
        said = out.splitlines()
        quiet_or_not = r"Use onnxruntime FP32(, once a quiet timing confirms it)?: "
        assert re.match(quiet_or_not, said[0]) and said[1].startswith("Accuracy: mAP ")
        assert (
            said[2].startswith("Size: ") and "The run took " in said[2] and said[3] == "Gates: the one there is holds."
        )
        assert (
            outcome.path is not None and said[5] == f"Report: {outcome.path.parent.relative_to(tmp_path)}/report.html"
        )
        assert [line[8:].split("  ")[0].split()[:2] for line in said[6:]] == [
            ["detpress", "bundle"],
            ["detpress", "report"],
        ]
        # Whoever measures beside it, another test perhaps, makes it wait, and it says so.
        told = [line for line in err.splitlines() if "waits for another measurement" not in line]
        assert told[1].startswith("  11 stages") and len(told) < 16
        assert ("stages cached" in err) == (number == 2)
        assert (outcome.path.parent / "logs" / "all.log").read_text().endswith("FINISHED\n")
