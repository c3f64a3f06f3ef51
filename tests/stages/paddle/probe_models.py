"""Runs inside a process that may load Paddle; prints one JSON object for the tests next to it.

python -m tests.stages.paddle.probe_models FOLDER < MODELS.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from stages.options.model import ModelOptions


def counts(models: dict[str, dict[str, Any]]) -> dict[str, dict[str, int]]:
    from stages.paddle.models import models as zoo

    found = {}
    for name, fields in models.items():
        layer = zoo.build_detector(ModelOptions(**fields), 80)
        found[name] = {
            "merged": zoo.count_parameters(layer),
            "plain": zoo.count_parameters(layer, merged=False),
        }
    return found


def activations(models: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Model -> whether any activation of its blocks lets negative numbers through, and what follows the attention."""
    import paddle
    from ppdet.modeling.backbones.cspresnet import RepVggBlock

    from stages.paddle.models import models as zoo

    found = {}
    for name in ("ppyoloe_plus_t", "ppyoloe_plus_t_relu"):
        layer = zoo.build_detector(ModelOptions(**models[name]), 3)
        acts = [part.act for part in layer.sublayers() if isinstance(part, RepVggBlock)]
        below = paddle.to_tensor([-1.0])
        kinds = {bool(act(below).numpy()[0] < 0) for act in acts}
        assert len(acts) > 10 and len(kinds) == 1, (len(acts), kinds)
        found[name] = {"negative": kinds.pop(), "head": type(layer.yolo_head.stem_cls[0].conv).__name__}
    return found


def config_state() -> str:
    from ppdet.core import workspace

    return repr(sorted((k, repr(v)) for k, v in workspace.global_config.items()))


def behaviour(tiny: dict[str, Any], folder: Path) -> dict[str, Any]:
    import numpy as np
    import paddle

    from stages.data.weights import read_pdparams, write_pdparams
    from stages.errors import ConfigError, WeightsError
    from stages.paddle.models import models as zoo

    result: dict[str, Any] = {}
    options = ModelOptions(**tiny)
    before = config_state()
    paddle.seed(1)
    layer = zoo.build_detector(options, 3, exclude_nms=True)
    result["config_is_clean"] = config_state() == before

    # Merging the branches must not change what the model says.
    layer.eval()
    rng = np.random.default_rng(0)
    for name, value in layer.state_dict().items():  # statistics as a trained model has them
        if name.endswith("._variance"):
            value.set_value(rng.uniform(0.5, 2.0, value.shape).astype("float32"))
    inputs = {
        "image": paddle.to_tensor(rng.normal(size=(1, 3, 64, 64)).astype("float32")),
        "scale_factor": paddle.to_tensor(np.array([[0.5, 0.25]], "float32")),
    }
    outputs = [t.numpy() for t in layer(inputs).values()]
    result["shapes"] = [list(o.shape) for o in outputs]

    arrays = {name: value.numpy() for name, value in layer.state_dict().items()}
    saved = folder / "three.pdparams"
    write_pdparams(saved, arrays)
    paddle.save(layer.state_dict(), str(folder / "by_paddle.pdparams"))
    theirs = read_pdparams(folder / "by_paddle.pdparams")
    result["paddle_reads_ours"] = all(
        np.array_equal(np.asarray(v), arrays[k]) for k, v in paddle.load(str(saved)).items()
    )
    result["we_read_paddles"] = theirs.keys() == arrays.keys() and all(
        np.array_equal(theirs[k], arrays[k]) for k in arrays
    )

    again = zoo.build_detector(options, 3, exclude_nms=True)
    report = zoo.load_weights(again, saved)
    again.eval()
    result["loaded"] = report.loaded == len(arrays)
    result["same_outputs"] = all(
        np.array_equal(a.numpy(), b) for a, b in zip(again(inputs).values(), outputs, strict=True)
    )
    zoo.merge_branches(again)
    merged = [t.numpy() for t in again(inputs).values()]
    result["merged_difference"] = max(
        float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(merged, outputs, strict=True)
    )

    other = zoo.build_detector(options, 5)
    try:
        zoo.load_weights(other, saved)
    except WeightsError as error:
        result["classes_error"] = str(error)
    report = zoo.load_weights(other, saved, allow_class_mismatch=True)
    result["reinitialized"], result["classes"] = report.reinitialized, report.classes
    stem = "backbone.stem.conv1.conv.weight"
    result["stem_loaded"] = bool(np.array_equal(other.state_dict()[stem].numpy(), arrays[stem]))

    wider = ModelOptions(**{**tiny, "architecture": {**tiny["architecture"], "width_mult": 0.5}})
    try:
        zoo.load_weights(zoo.build_detector(wider, 3), saved)
    except WeightsError as error:
        result["width_error"] = str(error)
    del arrays[stem]
    write_pdparams(folder / "lacking.pdparams", arrays)
    try:
        zoo.load_weights(zoo.build_detector(options, 3), folder / "lacking.pdparams")
    except WeightsError as error:
        result["lacking_error"] = str(error)
    backbone = {**tiny["architecture"]["CSPResNet"], "use_alpha": True}
    plus = ModelOptions(**{**tiny, "architecture": {**tiny["architecture"], "CSPResNet": backbone}})
    write_pdparams(
        folder / "plus.pdparams", {n: v.numpy() for n, v in zoo.build_detector(plus, 3).state_dict().items()}
    )
    try:
        zoo.load_weights(zoo.build_detector(options, 3), folder / "plus.pdparams")
    except WeightsError as error:
        result["left_error"] = str(error)
    result |= alpha(tiny, folder)
    wrong = {**tiny["architecture"], "CSPResNett": {}, "PPYOLOEHead": {"fpn_stride": [8]}, "architecture": "YOLO"}
    try:
        zoo.build_detector(ModelOptions(**{**tiny, "architecture": wrong}), 3)
    except ConfigError as error:
        result["config_problems"] = list(error.problems)
    result["config_is_clean_after_errors"] = config_state() == before
    return result


def alpha(tiny: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Checkpoints that differ from a model in nothing but ``alpha``, in the backbone or in the neck."""
    from stages.data.weights import write_pdparams
    from stages.errors import WeightsError
    from stages.paddle.models import models as zoo

    def model(**uses: bool) -> Any:
        own = {part: {**tiny["architecture"][part], "use_alpha": value} for part, value in uses.items()}
        return zoo.build_detector(ModelOptions(**{**tiny, "architecture": {**tiny["architecture"], **own}}), 3)

    def error(layer: Any, file: str) -> str:
        try:
            zoo.load_weights(layer, folder / file)
        except WeightsError as refused:
            return str(refused)
        return ""

    for file, layer in {"without": model(), "neck": model(CSPResNet=True, CustomCSPPAN=True)}.items():
        write_pdparams(folder / file, {n: v.numpy() for n, v in layer.state_dict().items()})
    taken = [error(model(CSPResNet=False), "without"), error(model(CSPResNet=True, CustomCSPPAN=True), "neck")]
    return {
        "alpha_lacking_error": error(model(CSPResNet=True), "without"),
        "alpha_in_the_neck_error": error(model(CSPResNet=True), "neck"),
        "alpha_taken": taken == ["", ""],
    }


def main() -> None:
    models = json.load(sys.stdin)
    folder = Path(sys.argv[1])
    found = {**behaviour(models["ppyoloe_tiny"], folder), "activations": activations(models)}
    print(json.dumps({"counts": counts(models), "behaviour": found}))


if __name__ == "__main__":
    main()
