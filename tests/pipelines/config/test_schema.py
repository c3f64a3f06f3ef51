"""Every YAML of every group composes into the schema, and states only what differs from its defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose
from omegaconf import OmegaConf

from pipelines.config import resolvers, schema
from pipelines.config.compose import Command, group_choices, hydra_for
from pipelines.config.keys import leaf_paths
from pipelines.config.load import examine
from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting, stage_options
from stages import backends
from stages.options.compression import DistillOptions
from stages.options.lighten import CompressionConfig
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
        commands = ("detpress compress", "detpress finetune", "detpress retrain", "detpress schedule")
        assert any(command in text for command in commands), f"{file}: a command to copy"


@pytest.mark.parametrize("name", backends.names())
def test_a_backend_that_is_chosen_has_every_option_so_that_each_can_be_overridden(name: str) -> None:
    assert (CONF / "backend" / f"{name}.yaml").read_text().startswith(f"# @package backend.{name}\n")
    with hydra_for(Command([])):
        config = compose("config", [f"backend=[{name}]"])
    kind = backends.get(name).Options
    assert OmegaConf.to_container(config.backend[name]) == dataclasses.asdict(kind())
    assert list(config.backend) == [name]


STATED = {
    "data/coco_folder": {"data.kind"},
    "compression/qat_distill": {"compression.method"},
    "experiment/demo": {"compression.cosine_length"},
    "experiment/bccd": {"compression.cosine_length"},
}
"""Choices that name themselves, or take back what another file sets; every other value of a default would be a copy
that can drift."""


def _values(tree: Any, default: Any, key: str) -> Iterator[tuple[str, bool]]:
    """Dotted key -> whether the YAML repeats the default; keys that are no options (an architecture's) are left out."""
    for name, value in tree.items():
        path = f"{key}.{name}" if key else str(name)
        if not isinstance(default, dict) or name not in default:
            continue
        if isinstance(value, dict) and isinstance(default[name], dict):
            yield from _values(value, default[name], path)
        else:
            yield path, value == default[name]


@pytest.mark.parametrize("file", [p for p in [Path("config"), *FILES] if p.parts[0] != "hydra"], ids=str)
def test_a_file_states_only_what_differs_from_the_defaults(file: Path) -> None:
    defaults = dataclasses.asdict(PipelineConfig())
    defaults["backend"] = {name: dataclasses.asdict(backends.get(name).Options()) for name in backends.names()}
    text = (CONF / file).with_suffix(".yaml").read_text()
    tree = yaml.safe_load(text) or {}
    tree.pop("defaults", None)
    package = [] if "@package _global_" in text else list(file.parts[:-1])
    if file.parts[0] == "backend":
        package = list(file.parts)
    for name in package:
        defaults = defaults[name]
    found = dict(_values(tree, defaults, ".".join(package)))
    assert {key for key, repeated in found.items() if repeated} == STATED.get(str(file), set())


def test_stage_options_takes_what_the_user_set_and_what_the_pipeline_adds() -> None:
    config = PipelineConfig(compression=CompressionConfig(steps=7, lr=0.5))
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
