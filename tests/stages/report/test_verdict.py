"""The head of the page: which engine to use, one warning for all timings."""

from __future__ import annotations

from pathlib import Path

from stages.report.verdict import causes, verdict, warned
from tests.fakes import FakeContext
from tests.stages.report.test_report import everything, report

DISTURBED = "invalid: CPU shared with the load of other processes (30% of its time); drift between rounds (12%)"


def test_the_recommended_engine_comes_with_speed_accuracy_and_size(tmp_path: Path, context: FakeContext) -> None:
    content, _ = report(context, everything(tmp_path))
    content["ship"] = {**(content["ship"] or {}), "precision": "int8", "sentence": "because"}
    found = verdict(content)
    assert found is not None and (found.kind, found.headline, found.why) == ("good", "Use onnxruntime INT8", "because")
    speed, accuracy, size = found.cards
    assert (speed.number, speed.badge) == ("3.00×", "timing valid") and "95 %: 2.80 to 3.20" in speed.remark
    assert (accuracy.number, accuracy.badge) == (
        "-1.3",
        "cannot be told from zero",
    ) and "FP32 50.5 → 49.2" in accuracy.remark
    assert (size.number, size.remark) == ("1.5 MB", "88% of multiply-adds in INT8")
    content["rows"][1]["difference"]["map"] = {"value": -1.25, "low": -2.5, "high": -0.5}
    found = verdict(content)
    assert found is not None and (found.cards[1].kind, found.cards[1].badge) == ("fail", "is a certain loss")


def test_a_disturbed_timing_recommends_with_a_reserve(tmp_path: Path, context: FakeContext) -> None:
    content, _ = report(context, everything(tmp_path, DISTURBED))
    found = verdict(content)
    assert found is not None and found.kind == "unsure" and "once a quiet timing confirms it" in found.headline
    assert found.cards[0].badge == "timing disturbed"


def test_without_a_choice_no_engine_is_recommended(tmp_path: Path, context: FakeContext) -> None:
    content, _ = report(context, everything(tmp_path))
    content["ship"] = None
    found = verdict(content)
    assert found is not None and (found.kind, found.headline) == ("none", "No engine is fit to be used")
    assert found.why.endswith(" The numbers are those of onnxruntime INT8.") and found.cards[0].number == "3.00×"
    content["rows"] = []
    assert verdict(content) is None


def test_all_disturbed_timings_share_one_warning(tmp_path: Path, context: FakeContext) -> None:
    content, _ = report(context, everything(tmp_path, DISTURBED))
    found = warned(content)
    assert found is not None and (found.count, found.total) == (4, 4)
    assert found.causes == [
        "CPU shared with the load of other processes (30 %): 4 timings", "drift between rounds (12 %): 4 timings",
    ]  # fmt: skip
    assert found.again == "detpress compress model=ppyoloe_tiny run.reuse_latency=false"
    text = (context.out / "report.html").read_text()
    assert text.count('class="alert"') == 1 and "4 of 4 timings were disturbed" in text
    quiet, _ = report(FakeContext(tmp_path / "quiet"), everything(tmp_path / "more"))
    assert warned(quiet) is None


def test_causes_are_counted_with_their_span() -> None:
    told = [
        "drift between rounds (17%)",
        "throttling (the CPU slowed down by 13% at times); drift between rounds (161%)",
    ]
    assert causes(told) == ["drift between rounds (17 to 161 %): 2 timings", "throttling (13 %): 1 timing"]
    assert causes(["no verdict"]) == ["no verdict: 1 timing"]
