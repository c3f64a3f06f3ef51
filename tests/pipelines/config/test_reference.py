"""``--help KEY`` and the page of all options say what the dataclasses say."""

from __future__ import annotations

import pytest

from pipelines.cli import main
from pipelines.config.keys import leaf_paths
from pipelines.config.reference import help_on, page, sections
from pipelines.config.schema import PipelineConfig, backend_options
from stages.errors import InputError
from tests.conftest import ROOT


def test_one_option_is_explained() -> None:
    assert help_on("compression.temperature") == (
        "compression.temperature\n"
        "  type     a number\n"
        "  default  1.0\n"
        "  rule     it must be more than 0\n"
        "  meaning  what logits are divided by in the losses `detection` and `features`\n"
    )
    hint = help_on("backend.openvino.precision_hint")
    assert "it must be one of f32, bf16, f16" in hint and "default  f32" in hint
    assert "default  10 (the default config sets 3)" in help_on("latency.rounds")
    assert "default  null" in help_on("threads")


def test_a_section_is_explained_with_all_that_is_in_it() -> None:
    shown = help_on("accuracy")
    for key in ("accuracy.draws\n", "accuracy.nms: ", "accuracy.nms.keep_top_k\n"):
        assert key in shown
    assert "compression." not in help_on("latency").replace("compression.max_map_drop", "")
    assert all(f"backend.{name}.threads" in help_on("backend") for name in backend_options())


@pytest.mark.parametrize(
    ("topic", "meant"),
    [
        ("temperature", "compression.temperature"),
        ("compression.temprature", "compression.temperature"),
        ("backend.openvino.precison_hint", "backend.openvino.precision_hint"),
        ("compresion", "compression"),
    ],
)
def test_an_unknown_key_names_the_one_that_was_meant(topic: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"^{topic}: there is no such key; did you mean .*{meant}"):
        help_on(topic)


@pytest.mark.parametrize("command", ["compress", "plan", "finetune", "retrain", "sensitivity", "schedule"])
def test_every_command_that_takes_a_config_explains_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help", "compression.temperature"]) == 0
    assert "it must be more than 0" in capsys.readouterr().out
    assert main([command, "-h", "nonsense.at.all"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err == "error: nonsense.at.all: there is no such key\n"


def test_help_without_a_key_is_the_command_s_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", "--help", "compression.stepz=3"]) == 2
    assert "did you mean compression.steps?" in capsys.readouterr().err
    assert main(["compress", "--help=seed"]) == 0
    assert capsys.readouterr().out.startswith("seed\n")


def test_the_committed_page_is_the_one_that_the_code_makes() -> None:
    assert (ROOT / "docs" / "options.md").read_text() == page(), "run `make docs`"


def test_the_page_has_every_option() -> None:
    keys = {entry.key for section in sections(foreign=False) for entry in section.entries}
    keys |= {section.key for section in sections(foreign=False)}
    assert set(leaf_paths(PipelineConfig)) - keys == {"backend"}
