"""PaddleSlim's AutoCompression as its examples use it: ``python -m tests.benchmarks.plain_act REQUEST.json``.

The request names the model's folder, a scratch folder, images, batch and steps. The last line of standard output is
JSON: ``prepare_s`` (from its construction until the training begins) and ``times`` (seconds at which each batch was
asked for, and at which the training ended).
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main(request: dict[str, Any]) -> dict[str, Any]:
    import stages.paddle  # noqa: F401, I001  (the door comes before paddle itself)
    import paddle
    from paddleslim.auto_compression import AutoCompression

    from stages.detection.images import read_image
    from stages.detection.preprocess import Preprocessor
    from stages.detection.sidecar import Sidecar

    source, scratch, batch = Path(request["model"]), Path(request["scratch"]), int(request["batch"])
    model = scratch / "model"
    model.mkdir(parents=True)
    for name in ("model.pdmodel", "model.pdiparams"):  # it rewrites the model in place
        shutil.copy(source / name, model / name)
    sidecar = Sidecar.read(source / "infer_cfg.yml")
    preprocess = Preprocessor(sidecar)
    times: list[float] = []

    def batches() -> Iterator[dict[str, Any]]:
        for start in range(0, len(request["images"]) - batch + 1, batch):
            times.append(time.perf_counter())
            pictures = [read_image(Path(path)) for path in request["images"][start : start + batch]]
            image, scale = preprocess.batch(pictures)
            yield {sidecar.image_input: image, sidecar.scale_input: scale}

    paddle.enable_static()
    started = time.perf_counter()
    recipe = request["recipe"]
    act = AutoCompression(
        model_dir=str(model),
        model_filename="model.pdmodel",
        params_filename="model.pdiparams",
        save_dir=str(scratch / "out"),
        config={
            "Distillation": {"alpha": 1.0, "loss": recipe["loss"]},
            "QuantAware": {
                "onnx_format": True,
                "use_pact": recipe["use_pact"],
                "activation_quantize_type": "moving_average_abs_max",
                "weight_quantize_type": recipe["weight_quantize_type"],
                "quantize_op_types": recipe["quantize_op_types"],
            },
            "TrainConfig": {
                "train_iter": request["steps"],
                "eval_iter": 10**6,
                "learning_rate": {"type": "CosineAnnealingDecay", "learning_rate": recipe["lr"], "T_max": 8000},
                "optimizer_builder": {"optimizer": {"type": "SGD"}, "weight_decay": recipe["weight_decay"]},
            },
        },
        train_dataloader=batches,
    )
    train, begun = act._start_train, []

    def timed(*arguments: Any) -> Any:
        times.clear()
        begun.append(time.perf_counter())
        result = train(*arguments)
        times.append(time.perf_counter())
        return result

    act._start_train = timed
    act.compress()
    return {"prepare_s": begun[0] - started, "times": times}


if __name__ == "__main__":
    result = main(json.loads(Path(sys.argv[1]).read_text()))
    print()
    print(json.dumps(result), flush=True)
