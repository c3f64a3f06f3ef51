"""A bad value of any option is refused before a run, and its key is named."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hydra import compose
from omegaconf import OmegaConf

from pipelines.config import resolvers, schema
from pipelines.config.compose import Command, hydra_for, no_schema
from pipelines.config.load import examine
from pipelines.config.schema import PipelineConfig, backend_options
from pipelines.config.values import check_values
from stages.options.rules import RULE
from stages.options.types import alternatives, field_types, fits

POOL: list[Any] = [-1, -1.0, 1, "no/such thing:", "two\nlines", ["no such"], ["twice", "twice"], "", []]
POOL += [[-1, -1], [-1.0, -1.0, -1.0]]
"""Among these is a bad value for every rule."""


@pytest.fixture(autouse=True)
def registered() -> None:
    schema.register()
    resolvers.register_resolvers()


def fields(kind: type, prefix: str = "") -> Iterator[tuple[str, Any, dataclasses.Field[Any]]]:
    types = field_types(kind)
    for f in dataclasses.fields(kind):
        if dataclasses.is_dataclass(types[f.name]):
            yield from fields(types[f.name], f"{prefix}{f.name}.")
        else:
            yield f"{prefix}{f.name}", types[f.name], f


ALL = [
    *fields(PipelineConfig),
    *(field for name, kind in backend_options().items() for field in fields(kind, f"backend.{name}.")),
]


def refused(planted: dict[str, Any]) -> dict[str, str]:
    """Key -> message of what the check of a config with these values finds."""
    with hydra_for(Command([])), no_schema():
        config = compose("config", [f"backend=[{','.join(backend_options())}]"])
    config.compression.eval_by = "map"  # what `target_map` needs
    for key, value in planted.items():
        OmegaConf.update(config, key, value)
    problems = examine(config)[1]
    assert len({str(problem) for problem in problems}) == len(problems), "nothing is said twice"
    return {problem.key: problem.text for problem in problems}


def test_a_bad_value_of_every_option_with_a_rule_is_refused() -> None:
    planted = {}
    for key, kind, f in ALL:
        if (rule := f.metadata[RULE]) is not None:
            bad = [value for value in POOL if fits(value, kind) and rule.complaint(value)]
            assert bad, f"{key}: the pool has no bad value for it"
            planted[key] = bad[0]
    assert len(planted) > 120
    assert {"compression.temperature", "backend.openvino.precision_hint", "schedule.notify.outcomes"} <= set(planted)
    assert set(planted) - set(refused(planted)) == set()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_number_may_be_infinite_or_none_at_all(value: float) -> None:
    planted = {key: value for key, kind, _ in ALL if float in alternatives(kind)}
    assert len(planted) > 50
    found = refused(planted)
    assert {key for key in planted if "it must be finite" not in found.get(key, "")} == set()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("backend.openvino.precision_hint", "f33", "'f33' does not fit; it must be one of f32, bf16, f16; "
         "did you mean f32?"),
        ("backend.tensorrt.optimization_level", 6, "6 does not fit; it must be between 0 and 5"),
        ("backend.tensorrt.workspace_mb", 0, "0 does not fit; it must be at least 1"),
        ("backend.tensorrt.pinned", "maybe", "'maybe' does not fit; it must be true or false or null"),
        ("backend.paddle_inference.device", "gpu", "'gpu' does not fit; it must be one of cpu, cuda"),
        ("backend.paddle_inference.passes", ["fold_bia"], "there is no pass fold_bia; did you mean fold_bias? "
         "(there are fold_bias, mean_to_pool, float_tail)"),
        ("backend.fastdeploy.runtime", "onnx", "'onnx' does not fit; it must be one of ort, openvino, tensorrt, "
         "paddle, paddle_tensorrt"),
        ("backend.fastdeploy.fp16", True, "it is for the runtimes tensorrt and paddle_tensorrt; set it to false"),
        ("latency.runs", 10, "10 does not fit; it must be at least latency.rounds=11"),
        ("schedule.notify.token_env", "hunter-2", "it must be the name of an environment variable, not the token "
         "itself"),
    ],
)  # fmt: skip
def test_the_message_says_what_would_be_right(key: str, value: object, message: str) -> None:
    more = {"latency.rounds": 11} if key == "latency.runs" else {"schedule.notify.webhook": "https://host.test"}
    assert refused({key: value, **more})[key] == message


def test_the_defaults_satisfy_the_rules() -> None:
    config = PipelineConfig(backend={name: kind() for name, kind in backend_options().items()})
    assert check_values(config) == []


def test_streams_that_no_cpu_has_room_for_are_refused_where_throughput_is_asked_for() -> None:
    wide = {"latency.server.streams": [4096]}
    assert "latency.server" not in refused(wide)
    said = refused({**wide, "latency.server.enabled": True})["latency.server"]
    assert said.startswith("4096 streams of 1 threads need 4096 CPUs") and "name fewer" in said
    said = refused({"latency.server.cpus": 4096, "latency.server.enabled": True})["latency.server.cpus"]
    assert said.startswith("4096 does not fit; this process may use")
