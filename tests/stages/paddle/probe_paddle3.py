"""Runs under Paddle 3, whose Python imports nothing of this project: exports detectors as PaddleDetection does there.

PADDLE3_PYTHON tests/stages/paddle/probe_paddle3.py FOLDER < {"NAME": {"architecture": {...}, "classes": C, "size": S,
"weights": FILE or null, "form": {...}}, ...}

``form`` holds PaddleDetection's switches: ``exclude_nms``, ``exclude_post_process``, ``trt``, ``fuse_conv_bn``,
``fuse_normalize`` (its arguments), ``eval_size`` (false: anchors are made in the graph),
``batch`` (-1: open). Each folder ``FOLDER/NAME`` gets ``inference.json``, ``inference.pdiparams`` and
``outputs.npz``: what Paddle 3 computes for ``FOLDER/image-SIZE.npy`` at a scale of 1, as ``out_0``, ...
"""

from __future__ import annotations

import json
import os
import sys
import zlib  # noqa: F401  (before Paddle's own copy of it)
from pathlib import Path
from typing import Any

os.environ.setdefault("GLOG_minloglevel", "2")

import numpy as np
import ppdet.modeling  # noqa: F401

import paddle  # isort: skip
from ppdet.core import workspace
from ppdet.modeling import ops
from ppdet.utils.fuse_utils import fuse_conv_bn


def _multiclass_nms(
    bboxes: Any, scores: Any, score_threshold: float, nms_top_k: int, keep_top_k: int, **more: Any
) -> tuple[Any, Any, None]:
    """NMS as later versions of PaddleDetection call it: the one of 2.6.0 appends it to a program of the old format."""
    rest = more["nms_threshold"], more["normalized"], more["nms_eta"], more.get("background_label", -1)
    found = paddle._C_ops.multiclass_nms3(bboxes, scores, None, score_threshold, nms_top_k, keep_top_k, *rest)
    return found[0], found[2], None


ops.multiclass_nms = _multiclass_nms


# PaddleDetection keeps one configuration for all that it builds: each model begins with what it was at the start.
DEFAULTS = {name: dict(value) for name, value in workspace.global_config.items() if isinstance(value, dict)}


def built(given: dict[str, Any]) -> Any:
    """The detector in evaluation mode, prepared as PaddleDetection's export prepares it."""
    form = given["form"]
    shared = {
        "num_classes": given["classes"],
        "exclude_nms": bool(form.get("exclude_nms")),
        "exclude_post_process": bool(form.get("exclude_post_process")),
        "trt": bool(form.get("trt")),
        "eval_size": [given["size"]] * 2 if form.get("eval_size", True) else None,
        "norm_type": "bn",
    }
    for name, value in DEFAULTS.items():
        workspace.global_config[name].clear()
        workspace.global_config[name].update(value)
    for name, value in {**given["architecture"], **shared}.items():
        if isinstance(value, dict):
            workspace.global_config[name].update(value)
        else:
            workspace.global_config[name] = value
    paddle.seed(0)
    model = workspace.create(given["architecture"]["architecture"])
    if given["weights"]:
        arrays = paddle.load(given["weights"])
        own = model.state_dict()
        model.set_state_dict({k: paddle.to_tensor(np.asarray(v)) for k, v in arrays.items() if k in own})
    for extra in ("aux_neck", "aux_head"):
        if hasattr(model, extra):
            delattr(model, extra)
    model.eval()
    for layer in model.sublayers():
        if hasattr(layer, "convert_to_deploy"):
            layer.convert_to_deploy()
    if form.get("fuse_conv_bn"):
        model = fuse_conv_bn(model)
    if form.get("fuse_normalize"):
        model.load_meanstd([{"NormalizeImage": form["fuse_normalize"]}])
        model.fuse_norm = True
    return model


def export(given: dict[str, Any], out: Path) -> None:
    model, size, batch = built(given), given["size"], given["form"].get("batch", -1)
    spec = {
        "image": paddle.static.InputSpec([batch, 3, size, size], "float32", "image"),
        "im_shape": paddle.static.InputSpec([batch, 2], "float32", "im_shape"),
        "scale_factor": paddle.static.InputSpec([batch, 2], "float32", "scale_factor"),
    }
    static = paddle.jit.to_static(model, input_spec=[spec], full_graph=True)
    used = ["image"] if given["form"].get("exclude_post_process") else ["image", "scale_factor"]
    paddle.jit.save(static, str(out / "inference"), input_spec=[{name: spec[name] for name in used}])


def outputs(out: Path, feeds: dict[str, Any]) -> None:
    config = paddle.inference.Config(str(out / "inference.json"), str(out / "inference.pdiparams"))
    config.disable_gpu()
    config.disable_mkldnn()
    config.switch_ir_optim(False)
    predictor = paddle.inference.create_predictor(config)
    for name in predictor.get_input_names():
        predictor.get_input_handle(name).copy_from_cpu(feeds[name])
    predictor.run()
    found = [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]
    np.savez(out / "outputs.npz", **{f"out_{i}": value for i, value in enumerate(found)})


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name, given in json.load(sys.stdin).items():
        out = folder / name
        out.mkdir()
        export(given, out)
        image = np.load(folder / f"image-{given['size']}.npy")
        ones = np.ones((len(image), 2), np.float32)
        outputs(out, {"image": image, "scale_factor": ones})
    print(json.dumps({"paddle": paddle.__version__}))
