"""The rows of the catalogue say of each stage what is true of its class."""

from __future__ import annotations

import dataclasses

import pytest

from stages.catalog import PADDLE, STAGES, StageEntry, stage_class, stage_entry
from stages.report.report import ReportStage


@pytest.mark.parametrize("name", list(STAGES))
def test_a_row_leads_to_the_class_of_that_name(name: str) -> None:
    cls = stage_class(name)
    assert (cls.name, f"{cls.__module__}:{cls.__name__}") == (name, STAGES[name].where)
    assert isinstance(cls.version, int) and cls.version >= 1


def test_the_report_gets_every_input_from_one_stage() -> None:
    """But for the compressed model: a run has either a distillation or a search."""
    given = [
        entry.report_input for name, entry in STAGES.items() if entry.report_input is not None and name != "search"
    ]
    assert sorted(given) == sorted(f.name for f in dataclasses.fields(ReportStage.Inputs))
    assert STAGES["search"].report_input == STAGES["distill"].report_input


def test_what_runs_on_paddle_says_so_in_its_packages() -> None:
    """The key of such a stage has to hold Paddle's version, whichever distribution it comes from."""
    for name, entry in STAGES.items():
        for distribution in ("paddlepaddle", "paddlepaddle-gpu"):
            assert (distribution in stage_class(name).packages) == (PADDLE in entry.needs), name


def test_only_a_stage_whose_files_repeat_has_files_that_do_not() -> None:
    assert [name for name, entry in STAGES.items() if entry.measured_files and not entry.exact] == []


def test_of_somebody_elses_stage_only_its_class_is_known() -> None:
    where = "tests.pipelines.stubs:Stub"
    assert stage_entry(where) == StageEntry(where)
    assert stage_class(where).name == "stub"
    with pytest.raises(ModuleNotFoundError):
        stage_class("no_such_stage:Stage")
