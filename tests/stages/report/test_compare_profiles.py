"""Two runs told apart by the layers of their engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.report import profiles
from stages.report.compare_profiles import compare_profiles, sentences
from tests.stages.report.test_profiles import SHARED, measured, profile


def run(folder: Path, name: str, groups: dict[str, float] | None, verdict: str = "valid", hardware: str = "cpu") -> Any:
    report: dict[str, Any] = {"run_id": name, "hardware": hardware, "rows": []}
    if groups is not None:
        report["profiles"] = profiles.read([profile(folder / name, {"int8": measured(groups, verdict)})], [])
    return report


SLOW = {"convolutions": 251.0, "activations": 35.0, "tail": 5.0}


def test_what_became_shorter_is_said_the_largest_difference_first(tmp_path: Path) -> None:
    before = run(tmp_path, "20260101-a", SLOW)
    after = run(tmp_path, "20260101-b", {"convolutions": 190.0, "tail": 5.5})
    (change,) = compare_profiles(before, after)
    assert [one["name"] for one in change["groups"]] == ["convolutions", "activations"]
    assert (change["first_ms"], change["second_ms"], change["valid"]) == (291, 195.5, True)
    (said,) = sentences(before, after)
    assert said == (
        "onnxruntime INT8, by layer: convolutions 251.0 → 190.0 ms, activations 35.0 → 0.0 ms "
        "(Kindconvolutions 251.0 → 190.0 ms, Kindactivations 35.0 → 0.0 ms); convolutions reach 93% → 93% of the peak"
    )


def test_engines_that_do_not_differ_are_said_to(tmp_path: Path) -> None:
    (said,) = sentences(run(tmp_path, "20260101-a", SLOW), run(tmp_path, "20260101-b", SLOW, SHARED))
    assert said.startswith("onnxruntime INT8*, by layer: no group of layers differs by more than 2% of the time;")


def test_of_two_machines_shares_are_compared(tmp_path: Path) -> None:
    twice = {name: 2 * ms for name, ms in SLOW.items()}
    before, after = run(tmp_path, "20260101-a", SLOW), run(tmp_path, "20260101-b", twice, hardware="another")
    assert "no group of layers differs" in sentences(before, after)[0]
    other = run(tmp_path, "20260101-c", {"convolutions": 50.0, "activations": 50.0}, hardware="another")
    (said,) = sentences(before, other)
    assert "convolutions 86.3% → 50.0%" in said and said.endswith("[another machine: shares, not times]")


def test_a_run_without_a_profile_is_named_and_two_of_them_need_no_word(tmp_path: Path) -> None:
    old, new = run(tmp_path, "old", None), run(tmp_path, "new", SLOW)
    assert compare_profiles(old, new) == []
    assert sentences(old, new) == sentences(new, old) == ["old has no profile, so no layers are compared"]
    assert sentences(old, old) == []
