"""What lies beside an exported model and states something is used, or contradicted aloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.config import resolvers, schema
from pipelines.config.check import check_command
from pipelines.config.compose import Command
from pipelines.config.schema import PipelineConfig
from pipelines.config.stated import with_stated
from pipelines.graph.user_inputs import user_model, with_labels
from stages.artifacts import InferenceModel
from stages.detection.sidecar import Sidecar
from stages.errors import ConfigError, WeightsError
from tests.stages.programs.writing import pdmodel

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "is_scale": True}
PLUS = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "norm_type": "none"}
NMS = {"score_threshold": 0.01, "nms_top_k": 1000, "keep_top_k": 300, "nms_threshold": 0.7}


def export(
    folder: Path,
    normalize: dict[str, Any] | None = None,
    nms: dict[str, Any] | None = None,
    resize: dict[str, Any] | None = None,
    settings: str = "infer_cfg.yml",
    **more: Any,
) -> Path:
    """An export without a network: what the config looks at is all there."""
    folder.mkdir(exist_ok=True)
    (folder / "model.pdmodel").write_bytes(pdmodel(("multiclass_nms3", {**NMS, **(nms or {})})))
    (folder / "model.pdiparams").write_bytes(b"")
    steps: list[dict[str, Any]] = [
        {"type": "Resize", "interp": 2, "keep_ratio": False, "target_size": [320, 320], **(resize or {})}
    ]
    steps += [{"type": "NormalizeImage", **normalize}] if normalize else []
    content = {"Preprocess": [*steps, {"type": "Permute"}], **more}
    if settings:
        (folder / settings).write_text(yaml.safe_dump(content))
    return folder


def composed(folder: Path, *overrides: str, config_dir: str | None = None) -> PipelineConfig:
    schema.register()
    resolvers.register_resolvers()
    own = ["model=ppyoloe_tiny", "data=shapes", f"model.inference_dir={folder}", *overrides]
    return check_command(Command(own, config_dir=config_dir))[0]


def refusal(folder: Path, *overrides: str, config_dir: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        composed(folder, *overrides, config_dir=config_dir)
    return str(caught.value)


def test_the_files_values_become_the_runs(tmp_path: Path) -> None:
    normalize = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "is_scale": False}
    labels = ["a", "b"]
    folder = export(
        tmp_path / "m",
        normalize,
        resize={"interp": 1, "target_size": [352, 416]},
        draw_threshold=0.3,
        label_list=labels,
    )
    model = with_labels(composed(folder)).model
    assert (model.mean, model.std, model.scale) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6], False)
    assert (model.input_size, model.interpolation) == ([352, 416], "linear")
    assert (model.draw_threshold, model.labels) == (0.3, labels)
    beside = Sidecar.from_model(model)
    assert Sidecar.read(beside.write(tmp_path / "infer_cfg.yml")) == beside


def test_without_normalizeimage_pixels_are_fed_as_they_are(tmp_path: Path) -> None:
    model = with_stated(composed(export(tmp_path / "m"))).model
    assert (model.mean, model.std, model.scale) == ([0.0] * 3, [1.0] * 3, False)
    beside = Sidecar.from_model(model)
    assert Sidecar.read(beside.write(tmp_path / "infer_cfg.yml")) == beside


def test_the_settings_are_part_of_what_was_brought(tmp_path: Path) -> None:
    config = composed(export(tmp_path / "m", IMAGENET, settings="inference.yml"))
    model = user_model(config)
    assert isinstance(model, InferenceModel)
    assert model.settings == "inference.yml" and "inference.yml" in model.files
    bare = user_model(composed(export(tmp_path / "n", settings="")))
    assert isinstance(bare, InferenceModel) and bare.settings == "" and len(bare.files) == 2


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model.mean=[0,0,0.5]", "model.mean: [0, 0, 0.5] contradicts {file}, which says [0.485, 0.456, 0.406]; leave"),
        ("model.interpolation=area", "model.interpolation: area contradicts {file}, which says cubic"),
        ("model.input_size=[640,640]", "model.input_size: [640, 640] contradicts {file}, which says [320, 320]"),
        ("model.scale=false", "model.scale: False contradicts {file}, which says True"),
        ("model.labels=[b,a]", "model.labels: [b, a] contradicts {file}, which says [a, b]"),
        ("model.draw_threshold=0.4", "model.draw_threshold: 0.4 contradicts {file}, which says 0.5"),
        ("accuracy.nms.nms_threshold=0.6", "accuracy.nms.nms_threshold: 0.6 contradicts {program}, which says 0.7"),
    ],
)
def test_a_typed_value_that_says_something_else_stops_the_run(override: str, says: str, tmp_path: Path) -> None:
    folder = export(tmp_path / "m", IMAGENET, label_list=["a", "b"])
    expected = says.format(file=folder / "infer_cfg.yml", program=folder / "model.pdmodel")
    assert expected in refusal(folder, override)


def test_the_same_value_may_be_typed(tmp_path: Path) -> None:
    folder = export(tmp_path / "m", IMAGENET, label_list=["a", "b"])
    config = composed(folder, "model.mean=[0.485,0.456,0.406]", "model.labels=[a,b]", "accuracy.nms.keep_top_k=300")
    assert with_labels(config).model.labels == ["a", "b"]


def test_a_file_of_the_users_counts_as_typed(tmp_path: Path) -> None:
    folder = export(tmp_path / "m", IMAGENET)
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    own = "# @package _global_\nmodel:\n  interpolation: area\n"
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(own)
    said = refusal(folder, "experiment=mine", config_dir=str(tmp_path / "conf"))
    assert "model.interpolation: area contradicts" in said and "experiment/mine.yaml" in said


def test_labels_of_another_number_are_paddledetections_default(tmp_path: Path) -> None:
    """It writes COCO's names where it does not find the label file; the graph knows how many there are."""
    folder = export(tmp_path / "m", IMAGENET, label_list=[f"coco {i}" for i in range(80)])
    shapes = "circle,square,triangle,star,ring"
    assert with_labels(composed(folder, f"model.labels=[{shapes}]")).model.labels == shapes.split(",")


@pytest.mark.parametrize(
    ("chosen", "normalize", "fits"),
    [("ppyoloe_s", PLUS, "ppyoloe_plus_s"), ("ppyoloe_plus_m", IMAGENET, "ppyoloe_m")],
)
def test_an_export_of_the_other_family_names_the_model_that_fits(
    chosen: str, normalize: dict[str, Any], fits: str, tmp_path: Path
) -> None:
    folder = export(tmp_path / "m", normalize)
    said = refusal(folder, f"model={chosen}")
    assert f"model: {chosen} normalizes images with mean" in said and f"choose model={fits}" in said
    assert "says mean" in said


def test_nms_follows_the_graph_where_map_allows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = composed(export(tmp_path / "m", IMAGENET)).accuracy.nms
    nms = with_stated(composed(export(tmp_path / "m", IMAGENET))).accuracy.nms
    assert nms == ours and capsys.readouterr().err == ""
    strict = {"nms_threshold": 0.6, "score_threshold": 0.3, "keep_top_k": 100, "nms_top_k": 2000}
    nms = with_stated(composed(export(tmp_path / "m", IMAGENET, strict))).accuracy.nms
    assert (nms.nms_threshold, nms.score_threshold, nms.keep_top_k, nms.nms_top_k) == (0.6, 0.01, 300, 2000)
    said = capsys.readouterr().err
    assert "keeps fewer boxes (score_threshold 0.3) than mAP is measured on (0.01)" in said
    assert "keep_top_k 100" in said and "nms_top_k" not in said.replace("keep_top_k", "")


@pytest.mark.parametrize(
    ("resize", "more", "says"),
    [
        ({"keep_ratio": True}, {}, "without keeping the aspect ratio"),
        ({"target_size": "big"}, {}, "incomplete or malformed"),
        ({}, {"Preprocess": "none"}, "has no list `Preprocess`"),
        ({}, {"Preprocess": [{"type": "PadStride", "stride": 32}]}, "preprocessing step 'PadStride'"),
    ],
)
def test_what_is_not_done_here_is_refused_before_anything_runs(
    resize: dict[str, Any], more: dict[str, Any], says: str, tmp_path: Path
) -> None:
    assert says in refusal(export(tmp_path / "m", IMAGENET, resize=resize, **more))


@pytest.mark.parametrize(
    ("resize", "more", "says"),
    [
        ({"target_size": [300, 320]}, {}, "model.input_size: [300, 320] does not fit"),
        ({"target_size": [0, -32]}, {}, "model.input_size: [0, -32] does not fit"),
        ({}, {"label_list": ["a", "b", "a"]}, "model.labels"),
        ({}, {"draw_threshold": 3}, "model.draw_threshold: 3.0 does not fit"),
    ],
)
def test_a_stated_value_that_cannot_be_used_is_refused(
    resize: dict[str, Any], more: dict[str, Any], says: str, tmp_path: Path
) -> None:
    folder = export(tmp_path / "m", IMAGENET, resize=resize, **more)
    with pytest.raises(ConfigError) as caught:
        with_labels(composed(folder))
    assert says in str(caught.value) and f"{folder / 'infer_cfg.yml'} says so" in str(caught.value)


def test_a_run_without_an_export_is_left_alone(tmp_path: Path) -> None:
    schema.register()
    resolvers.register_resolvers()
    config = check_command(Command(["model.random_weights=true"]))[0]
    assert with_stated(config) is config


def test_a_config_that_was_made_otherwise_is_held_to_the_files_too(tmp_path: Path) -> None:
    config = composed(export(tmp_path / "m", IMAGENET, label_list=["a", "b"]))
    config.model.labels = ["b", "a"]
    with pytest.raises(ConfigError, match="contradicts"):
        with_labels(config)
    (tmp_path / "m" / "model.pdmodel").write_bytes(b"\x0a\xff")
    with pytest.raises(WeightsError, match="is no program of Paddle"):
        with_stated(config)
