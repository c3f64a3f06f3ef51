"""The calls of PaddleDetection's deploy/python/infer.py: python -m tests.stages.paddle.deploy_calls FOLDER IMAGE...

A Paddle Inference predictor of ``model.pdmodel``, fed by name with what ``infer_cfg.yml`` makes of an image; of its
outputs the first is read as rows, the second as how many there are. The last line is JSON: the rows of each image.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.stages.bundle.as_scripts import prepared


def main(folder: Path, images: list[Path]) -> None:
    import stages.paddle  # isort: skip  # noqa: F401
    from paddle.inference import Config, create_predictor

    config = Config(str(folder / "model.pdmodel"), str(folder / "model.pdiparams"))
    config.disable_gpu()
    config.set_cpu_math_library_num_threads(1)
    config.disable_glog_info()
    config.enable_memory_optim()
    config.switch_use_feed_fetch_ops(False)
    predictor = create_predictor(config)
    steps = yaml.safe_load((folder / "infer_cfg.yml").read_text())["Preprocess"]
    found: list[Any] = []
    for image in images:
        inputs = prepared(image, steps)
        for name in predictor.get_input_names():
            predictor.get_input_handle(name).copy_from_cpu(inputs[name][None])
        predictor.run()
        boxes, counts = (predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()[:2])
        found.append(boxes[: int(counts[0])].tolist())
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(word) for word in sys.argv[2:]])
