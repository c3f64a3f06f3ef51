"""Every model builds with the published number of parameters; weights load, or say why they do not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.options.model import ModelOptions
from tests.stages.workers import probed

CONF = Path(__file__).resolve().parents[4] / "conf" / "model"
PUBLISHED = {  # millions, PaddleDetection's tables, 80 classes
    "ppyoloe_s": 7.93,
    "ppyoloe_m": 23.43,
    "ppyoloe_l": 52.20,
    "ppyoloe_x": 98.42,
    "ppyoloe_plus_t": 4.85,
    "ppyoloe_plus_t_320": 4.85,
    "ppyoloe_plus_t_relu": 3.60,
    "ppyoloe_plus_t_relu_320": 3.60,
    "ppyoloe_plus_s": 7.93,
    "ppyoloe_plus_m": 23.43,
    "ppyoloe_plus_l": 52.20,
    "ppyoloe_plus_x": 98.42,
}
NAMES = sorted(p.stem for p in CONF.glob("[!_]*.yaml"))


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def compose(name: str) -> dict[str, Any]:
    """A file of conf/model with the files it builds on, as Hydra composes it."""
    own = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    result: dict[str, Any] = {}
    for base in own.pop("defaults", []):
        if (CONF / f"{base}.yaml").is_file():
            result = merge(result, compose(base))
    return merge(result, own)


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All models are built in one process: loading Paddle is what costs."""
    folder = tmp_path_factory.mktemp("models")
    models = {name: compose(name) for name in NAMES}
    result: dict[str, Any] = probed("tests.stages.paddle.probe_models", str(folder), given=models)
    return result


@pytest.mark.parametrize("name", NAMES)
def test_file(name: str) -> None:
    text = (CONF / f"{name}.yaml").read_text()
    options = dataclasses.asdict(ModelOptions()) | compose(name)
    assert text.startswith(f"# detpress compress model={name} "), "the first line is a command to copy"
    assert options["name"] == name
    assert len(options["input_size"]) == 2
    assert options["parameters"] == round(PUBLISHED.get(name, 0) * 1e6)
    if "plus" in name:
        assert (options["mean"], options["std"]) == ([0.0] * 3, [1.0] * 3)
        assert options["architecture"]["CSPResNet"]["use_alpha"] is True


def test_every_published_model_has_a_file() -> None:
    assert set(PUBLISHED) | {"ppyoloe_tiny"} == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_parameter_count(name: str, probe: dict[str, Any]) -> None:
    # The tables count what is deployed: branches merged, no running statistics of batch normalization, no auxiliary
    # head; the figures of plus_t were counted without merging. Two decimals of a million are 0.14 % of the smallest.
    form = "plain" if name.startswith("ppyoloe_plus_t") else "merged"
    assert probe["counts"][name][form] == pytest.approx(PUBLISHED[name] * 1e6, rel=0.0015)


@pytest.mark.slow
def test_relu_is_meant_for_every_activation(probe: dict[str, Any]) -> None:
    """By what they compute: SiLU lets a little of a negative number through."""
    assert probe["behaviour"]["activations"] == {
        "ppyoloe_plus_t": {"negative": True, "head": "RepVggBlock"},
        "ppyoloe_plus_t_relu": {"negative": False, "head": "NoneType"},
    }


@pytest.mark.slow
def test_tiny_is_tiny(probe: dict[str, Any]) -> None:
    assert 1.8e6 < probe["counts"]["ppyoloe_tiny"]["merged"] < 2.4e6


@pytest.mark.slow
def test_ppdets_global_config_is_left_clean(probe: dict[str, Any]) -> None:
    assert probe["behaviour"]["config_is_clean"]
    assert probe["behaviour"]["config_is_clean_after_errors"]


@pytest.mark.slow
def test_weights_round_trip_through_paddle(probe: dict[str, Any]) -> None:
    got = probe["behaviour"]
    assert got["paddle_reads_ours"]
    assert got["we_read_paddles"]
    assert got["loaded"]
    assert got["same_outputs"]
    anchors = (64 // 8) ** 2 + (64 // 16) ** 2 + (64 // 32) ** 2
    assert got["shapes"] == [[1, anchors, 4], [1, 3, anchors]]


@pytest.mark.slow
def test_merged_branches_say_the_same(probe: dict[str, Any]) -> None:
    assert probe["behaviour"]["merged_difference"] < 1e-4


@pytest.mark.slow
def test_another_number_of_classes(probe: dict[str, Any]) -> None:
    got = probe["behaviour"]
    assert "trained for 3 classes" in got["classes_error"]
    assert "5" in got["classes_error"]
    assert len(got["reinitialized"]) == 6  # weight and bias on three levels
    assert all("pred_cls" in name for name in got["reinitialized"])
    assert got["stem_loaded"] and got["classes"] == 3  # of the file


@pytest.mark.slow
def test_another_architecture_is_refused(probe: dict[str, Any]) -> None:
    got = probe["behaviour"]
    assert "has shape" in got["width_error"] and "It fits model=ppyoloe_tiny" in got["width_error"]
    assert "backbone.stem.conv1.conv.weight" in got["lacking_error"]
    assert "6 of its" in got["left_error"] and "have no place in it" in got["left_error"]
    assert "the first is backbone.stages.0.blocks.0.conv2.alpha" in got["left_error"]


@pytest.mark.slow
def test_weights_without_alpha_or_with_it_in_the_neck_name_the_key_that_takes_them(probe: dict[str, Any]) -> None:
    got = probe["behaviour"]
    assert "It fits model=ppyoloe_tiny: choose that; a PP-YOLOE+ that was trained" in got["alpha_lacking_error"]
    assert "fits with model.architecture.CSPResNet.use_alpha=false, or" in got["alpha_lacking_error"]
    assert "Choose model.architecture.CustomCSPPAN.use_alpha=true." in got["alpha_in_the_neck_error"]
    assert got["alpha_taken"]


@pytest.mark.slow
def test_unknown_entries_are_all_named(probe: dict[str, Any]) -> None:
    problems = "\n".join(probe["behaviour"]["config_problems"])
    assert "CSPResNett: unknown module; did you mean CSPResNet?" in problems
    assert "PPYOLOEHead.fpn_stride: unknown key; did you mean fpn_strides?" in problems
    assert "'YOLO' is no module" in problems
