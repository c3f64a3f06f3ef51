"""Every option of every stage knows the config key it comes from: no message names a key that is not there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pipelines.config.keys import leaf_paths
from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting
from pipelines.execution import ids
from pipelines.execution.key_changes import changes
from pipelines.execution.node import Node, Ref
from pipelines.graph.bundle import bundle_node
from pipelines.graph.compress import compress_graph, finetune_nodes, sensitivity_graph
from pipelines.graph.data import convert_node
from pipelines.graph.search import search_node
from pipelines.registry.register import drift_node
from pipelines.retraining.head_to_head import duel_nodes
from pipelines.runs import reporting
from stages import backends
from stages.artifacts import Engine, Precision
from stages.backends.openvino.options import OpenVinoOptions
from stages.catalog import STAGES
from stages.codec import to_json
from stages.options.data import DataOptions

NOT_CONFIG = {
    "convert": {"listing"},
    "collect_labeled": {"sample", "listing"},
    "collect_unlabeled": {"annotations", "listing"},
    "export": {"precision"},
    "latency": {"names", "variants", "limits"},
    "throughput": {"variants"},
    "judge": {"names", "run_id", "champion", "hardware", "images_digest"},
    "report": {"run_id", "command", "hardware", "failures", "config", "versions", "commit", "variants", "left_out"},
    "bundle": {
        "run_id",
        "model",
        "golden",
        "layout",
        "promised",
        "facts",
        "hardware",
        "versions",
        "requirements",
        "config",
    },
}
"""Stage -> its options that no key of the config stands for: what the graph, the run or the command knows."""


def all_nodes(folder: Path) -> list[Node]:
    """Nodes of every stage there is."""
    config = PipelineConfig()
    config.data.kind, config.compression.max_map_drop, config.compression.eval_by = "shapes", 0.5, "map"
    config.thresholds.score = 0.5
    config.latency.server.enabled = True
    config.compression.activation = "relu"
    config.backend = {"openvino": OpenVinoOptions(), "onnxruntime": backends.get("onnxruntime").Options()}
    info = SimpleNamespace(run_id="r", model="m", data="d", command="c", hardware="h", config={"seed": 1}, commit="x")
    run: Any = SimpleNamespace(info=info, results=SimpleNamespace(artifacts={}, failures={}, skipped={}), versions={})
    champion: Any = SimpleNamespace(version=SimpleNamespace(number="4", run_id="r0"))
    nodes = compress_graph(config, None, threads=1)
    nodes += sensitivity_graph(config, None, threads=1)[-1:]
    nodes.append(search_node(config, 1, model=Setting("model"), labeled=True))
    nodes += finetune_nodes(config, None, threads=1)
    divided = dataclasses.replace(config, data=coco_data(folder / "images"))
    nodes.append(convert_node(divided))
    nodes += duel_nodes(config, run, "r", champion)
    nodes.append(drift_node(config, ids.DRIFT, Ref(ids.CHAMPION_ENGINE), None))
    nodes.append(reporting._report_node(run, config, nodes, run.results))
    nodes.append(bundled(folder))
    return nodes


def coco_data(folder: Path) -> DataOptions:
    """A labelled folder without images, which is to be divided."""
    folder.mkdir(exist_ok=True)
    return DataOptions(train_annotations=str(folder / "train.json"), train_images=str(folder), val_fraction=0.5)


def bundled(folder: Path) -> Node:
    """A bundle of a run that left the least that a bundle is made of."""
    engine = Engine(
        root=folder, backend="onnxruntime", precision=Precision.INT8, main="model.onnx", input_size=[64, 64], batch=1,
        scale_factor=False, image_input="image", scale_input="", boxes_output="boxes", scores_output="scores",
    )  # fmt: skip
    left = [ids.build("onnxruntime", "int8"), ids.export("int8"), ids.IMAGES]
    state = {"run_id": "r", "hardware": "h", "versions": {"numpy": "1"}, "stages": {n: {"entry": n} for n in left}}
    (folder / "run.json").write_text(json.dumps(state))
    (folder / "report.json").write_text(json.dumps({"rows": []}))
    (folder / "config.yaml").write_text(yaml.safe_dump(to_json(PipelineConfig())))
    store: Any = SimpleNamespace(load=lambda name: engine, load_as=lambda name, kind: engine)
    return bundle_node(folder, store, "onnxruntime", "int8", 8)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, Mapping) and value:
        for name, inside in value.items():
            yield from leaves(inside, (*path, name))
    else:
        yield path


def altered(options: Any, path: tuple[str, ...]) -> dict[str, Any]:
    """The options with another value at ``path``."""
    copy = json.loads(json.dumps(options))
    inside = copy
    for name in path[:-1]:
        inside = inside[name]
    inside[path[-1]] = "another"
    return dict(copy)


def known_keys() -> set[str]:
    own = {key for name in backends.names() for key in leaf_paths(backends.get(name).Options, f"backend.{name}.")}
    return {*leaf_paths(PipelineConfig), *own}


def test_a_changed_option_is_told_by_a_key_that_exists(tmp_path: Path) -> None:
    known, seen, unnamed = known_keys(), set(), set()
    for node in all_nodes(tmp_path):
        options = to_json(node.options)
        seen.add(node.stage)
        for path in leaves(options):
            parts = {"stage": node.stage, "version": 1, "fingerprint": {}, "inputs": {}}
            old, new = {**parts, "options": altered(options, path)}, {**parts, "options": options}
            (told,) = changes(old, new, {}, node.origins)
            key = told.partition(" ")[0]
            if path[0] in NOT_CONFIG.get(node.stage, ()):
                unnamed.add((node.stage, path[0]))
            else:
                assert key in known, f"{node.id}: {told}"
    assert seen == set(STAGES)
    assert unnamed == {(stage, name) for stage, names in NOT_CONFIG.items() for name in names}


@pytest.mark.parametrize(
    ("name", "path", "said"),
    [
        ("distill", ("nms", "score_threshold"), "accuracy.nms.score_threshold"),
        ("distill", ("lr",), "compression.lr"),
        ("lighten", ("lr",), "compression.light_lr"),
        ("lighten", ("activation",), "compression.activation"),
        ("lighten", ("opset",), "export.opset"),
        ("float_blocks", ("opset",), "export.opset"),
        ("float_blocks", ("max_map_drop",), "compression.max_map_drop"),
        ("float_blocks", ("options", "threads"), "backend.onnxruntime.threads"),
        ("compare.openvino", ("draws",), "accuracy.draws"),
        ("agreement", ("score",), "agreement.score"),
        ("detect.reference", ("images",), "agreement.images"),
        ("draw", ("train",), "data.shapes.train"),
        ("images.unlabeled", ("sample",), "compression.images"),
    ],
)
def test_a_key_is_the_one_that_the_user_would_set(tmp_path: Path, name: str, path: tuple[str, ...], said: str) -> None:
    node = next(node for node in all_nodes(tmp_path) if node.id == name)
    options = to_json(node.options)
    parts = {"stage": node.stage, "version": 1, "fingerprint": {}, "inputs": {}, "options": options}
    (told,) = changes({**parts, "options": altered(options, path)}, parts, {}, node.origins)
    assert told.startswith(f"{said} another -> ")


def test_an_option_that_is_gone_is_called_as_the_stage_called_it(tmp_path: Path) -> None:
    """Records of earlier versions know options that no key stands for any more."""
    node = next(node for node in all_nodes(tmp_path) if node.id == ids.DISTILL)
    options = to_json(node.options)
    parts = {"stage": node.stage, "version": 1, "fingerprint": {}, "inputs": {}, "options": options}
    before = {**options, "old": 1, "nms": {**options["nms"], "soft": True}}
    assert changes({**parts, "options": before}, parts, {}, node.origins) == [
        "nms.soft true -> (none)",
        "old 1 -> (none)",
    ]
