"""Every YAML of every group composes into the schema, and the schema's numbers all have a rule."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose

from pipelines.config import resolvers, schema
from pipelines.config.compose import Command, group_choices, hydra_for
from pipelines.config.keys import field_types, leaf_paths
from pipelines.config.load import examine
from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting, stage_options
from pipelines.config.values import RULES, check_values
from stages import backends
from stages.options.compression import CompressionSettings, DistillOptions
from stages.options.model import ModelOptions
from tests.conftest import ROOT

CONF = ROOT / "conf"
FILES = sorted(p.relative_to(CONF).with_suffix("") for p in CONF.rglob("*.yaml") if p.parent != CONF)
CHOICES = [p for p in FILES if not p.name.startswith("_")]


@pytest.fixture(autouse=True)
def registered() -> None:
    schema.register()
    resolvers.register_resolvers()


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_every_choice_composes_and_fits_the_schema(choice: Path) -> None:
    value = f"[{choice.name}]" if choice.parent.name == "backend" else choice.name
    with hydra_for(Command([])):
        config = compose("config", [f"{choice.parent}={value}"])
    _, problems = examine(config, inputs=False)
    assert problems == []


def test_the_files_on_disk_are_the_choices_that_hydra_sees() -> None:
    with hydra_for(Command([])) as loader:
        for group in {p.parent for p in FILES}:
            own = {p.name for p in CHOICES if p.parent == group}
            assert own <= set(group_choices(loader, str(group)))


def test_every_file_begins_with_what_it_is_for_and_a_command_to_copy() -> None:
    for file in FILES:
        if file.parts[0] == "hydra":
            continue
        text = (CONF / file).with_suffix(".yaml").read_text()
        assert text.startswith("#"), f"{file}: the first line says what the file is for"
        commands = ("detpress compress", "detpress finetune", "detpress retrain")
        assert any(command in text for command in commands), f"{file}: a command to copy"


@pytest.mark.parametrize("name", backends.names())
def test_a_backends_file_states_every_option_so_that_each_can_be_overridden(name: str) -> None:
    file = CONF / "backend" / f"{name}.yaml"
    assert file.read_text().startswith(f"# @package backend.{name}\n")
    options = {f.name for f in dataclasses.fields(backends.get(name).Options)}
    assert set(yaml.safe_load(file.read_text())) == options


def _numeric(cls: type, prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, kind in field_types(cls).items():
        if dataclasses.is_dataclass(kind):
            found += _numeric(typing.cast(type, kind), f"{prefix}{name}.")
        elif {int, float} & {kind, *typing.get_args(kind)}:
            found.append(prefix + name)
    return found


def test_every_number_has_a_rule_and_every_rule_a_key() -> None:
    assert set(_numeric(PipelineConfig)) - set(RULES) == set()
    assert set(RULES) - set(leaf_paths(PipelineConfig)) == set()


def test_the_defaults_satisfy_the_rules() -> None:
    assert check_values(PipelineConfig()) == []


def test_stage_options_takes_what_the_user_set_and_what_the_pipeline_adds() -> None:
    config = PipelineConfig(compression=CompressionSettings(steps=7, lr=0.5))
    config.accuracy.nms.keep_top_k = 9
    model = ModelOptions(name="m")
    given = {"model": Setting("model", model), "nms": Setting("accuracy.nms"), "lr": 0.25}
    made, origins = stage_options(DistillOptions, config, "compression", **given)
    assert (made.steps, made.lr, made.model, made.nms.keep_top_k) == (7, 0.25, model, 9)
    assert origins["steps"] == "compression.steps" and "lr" not in origins
    assert (origins["model"], origins["nms"]) == ("model", "accuracy.nms")


def test_no_stage_only_field_is_a_config_key() -> None:
    keys = set(leaf_paths(PipelineConfig))
    inside: list[Any] = [k for k in keys if k.endswith((".model", ".precision", "latency.nms"))]
    assert inside == []
