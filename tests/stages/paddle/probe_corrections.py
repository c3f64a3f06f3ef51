"""Runs in a process that may load Paddle: what equalisation and bias correction change in a detector.

python -m tests.stages.paddle.probe_corrections equalize|correct FP32.json IMAGES.json: see the functions below.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PLANTED = 50.0


def loaded(model: Any, scope: Any) -> Any:
    from stages.paddle.compression import anatomy
    from stages.paddle.runtime.program import load_program

    program = anatomy.fold_batch_norm(load_program(model.path("model.pdmodel"), model.path("model.pdiparams")), scope)
    program.set_shapes(anatomy.open_batch(model))
    return program


def equalize(model: Any, images: Any) -> dict[str, Any]:
    """Plant a channel fifty times as large as it was and read by weights fifty times as small, or, where nothing can be
    scaled, one that is constant and that nobody reads; then equalise. Says how far outputs are from those before."""
    import numpy as np

    from stages.paddle.compression import equalization, slim
    from stages.paddle.compression.calibrate import channel_maxima
    from stages.paddle.compression.ptq import calibration
    from stages.paddle.runtime.execution import Runner
    from stages.paddle.runtime.program import fresh_scope

    with fresh_scope() as scope:
        program = loaded(model, scope)
        feeds = list(calibration(images, 6, model))

        def outputs() -> list[Any]:
            runner = Runner(program.prune(program.fetches).desc, 1)
            return [value for one in feeds for value in runner.run(one, program.fetches)]

        found = equalization.links(program)
        scalable = [link for link in found if link.scalable]
        link = (scalable or found)[0]
        channel = 1
        factors = np.ones(program.shape(link.weight)[0])
        bias = slim.read(scope, link.bias)
        if scalable:
            factors[channel] = PLANTED
            slim.write(scope, link.weight, equalization.scaled_outputs(slim.read(scope, link.weight), factors))
            slim.write(scope, link.bias, bias * factors.reshape(bias.shape))
            reading = 1 / factors
        else:
            bias.reshape(-1)[channel] = 300.0
            slim.write(scope, link.bias, bias)
            reading = factors.copy()
            reading[channel] = 0.0
        for name in link.readers:
            slim.write(scope, name, equalization.scaled_inputs(slim.read(scope, name), reading))

        def spread() -> float:
            seen = channel_maxima(program, [link.tensor], feeds, 1)[link.tensor]
            return float(seen.max() / np.median(seen[seen > 0]))

        before, spreads = outputs(), [spread()]
        done = equalization.equalize(program, lambda: iter(feeds), scope, 1)
        spreads.append(spread())
        errors = [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(outputs(), before, strict=True)]
    return {
        "links": len(found),
        "scalable": len(scalable),
        "pairs": done.pairs,
        "silenced": done.silenced,
        "difference": float(max(errors)),
        "spreads": spreads,
        "can": equalization.can_equalize(model),
        "told": done.told(),
    }


def correct(model: Any, images: Any) -> dict[str, Any]:
    """Clip every activation at half its range, which moves all means; say by how much, before and after."""
    import numpy as np

    from stages.options.compression import DistillOptions
    from stages.paddle.compression import anatomy, bias_correction, slim
    from stages.paddle.compression.calibrate import find_ranges
    from stages.paddle.compression.ptq import _prepared, calibration
    from tests.fakes import FakeContext

    options = DistillOptions(method="ptq")
    with _prepared(model, options, FakeContext(model.root.parent / "probe")) as (program, inference, scope):
        names = slim.quantized_activations(inference)
        ranges = find_ranges(program, names, lambda: calibration(images, 6, model), "abs_max", 1)
        for name in names:
            slim.write(scope, name + slim.SCALE, max(ranges[name], slim.SMALLEST_RANGE) / 2)
        slim.set_weight_scales(inference, scope)
        layers = bias_correction._correctable(inference)
        (feeds,) = calibration(images, 6, model, 8)

        def means(of: Any) -> dict[str, Any]:
            """By layer, with its bias."""
            found = bias_correction._Means(of, list(layers), 1).run(feeds)
            return {name: value.reshape(-1) + slim.read(scope, layers[name]) for name, value in found.items()}

        expected = means(program)

        def shifts() -> list[float]:
            seen = means(inference)
            return [float(np.abs(seen[n] - expected[n]).mean() / np.abs(expected[n]).mean()) for n in layers]

        before = shifts()
        done = bias_correction.correct_biases(program, inference, lambda: iter([feeds]), scope, 1)
        convolutions = [op for op in program.ops() if op.type == "conv2d"]
        left = [op for op in convolutions if anatomy.is_projection(program, op)]
        return {
            "layers": done.layers,
            "quantized": len(convolutions) - len(left),
            "largest": done.largest,
            "before": before,
            "after": shifts(),
        }


def main(mode: str, model_file: str, images_file: str) -> dict[str, Any]:
    from stages.artifacts import ExportedModel, ImageList
    from stages.codec import artifact_from_json
    from stages.detection.unlabeled import images_for, listed_paths

    model, listed = (artifact_from_json(json.loads(Path(file).read_text())) for file in (model_file, images_file))
    assert isinstance(model, ExportedModel) and isinstance(listed, ImageList)
    images = images_for(model, listed_paths(listed), batch=2, seed=0)
    return {"equalize": equalize, "correct": correct}[mode](model, images)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
