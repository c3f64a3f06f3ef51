"""Runs inside a process that may load Paddle: detectors with random weights lose channels.

python -m tests.stages.paddle.lightening.probe_channels FOLDER < MODELS.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stages.options.model import ModelOptions

SIZE = 64
FORMS = {
    "ppyoloe_tiny": {"folded": True, "apart": False},
    "ppyoloe_s": {"apart": False},
    "ppyoloe_plus_t": {"folded": True},
}
"""Model -> whether batch normalization is folded."""
LABELS = ["circle", "square", "triangle"]


def load(files: Path, scope: Any, fold: bool) -> Any:
    """The exported program; a fresh head is all zeros, which would hide everything, so it gets other weights."""
    import numpy as np
    import paddle

    from stages.paddle.compression.anatomy import fold_batch_norm
    from stages.paddle.runtime.program import load_program

    program = load_program(files / "model.pdmodel", files / "model.pdiparams")
    rng = np.random.default_rng(1)
    for op in program.ops():
        if op.type == "conv2d":
            tensor = scope.find_var(op.input("Filter")[0]).get_tensor()
            value = np.array(tensor)
            if not value.any():
                tensor.set(rng.normal(0, 0.05, value.shape).astype(np.float32), paddle.CPUPlace())
    return fold_batch_norm(program, scope) if fold else program


def feeds(count: int = 1) -> Iterator[dict[str, Any]]:
    import numpy as np

    rng = np.random.default_rng(2)
    for _ in range(count):
        image = rng.normal(size=(1, 3, SIZE, SIZE)).astype(np.float32)
        yield {"image": image, "scale_factor": np.ones((1, 2), np.float32)}


def outputs(folder: Path) -> list[Any]:
    from stages.paddle.runtime.infer import Predictor

    return Predictor(folder / "model.pdmodel", folder / "model.pdiparams").run(next(feeds()))


def saved(program: Any, folder: Path) -> Path:
    folder.mkdir(parents=True)
    program.save(folder / "model")
    return folder


def apart(some: list[Any], others: list[Any]) -> float:
    """The largest difference, relative to the largest value of an output."""
    import numpy as np

    pairs = zip(some, others, strict=True)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def silence(scope: Any, channels: Any, kept: Any) -> None:
    """Let the whole model compute zeros in all channels that are not kept."""
    import numpy as np
    import paddle

    for name, axes in channels.parameters.items():
        tensor = scope.find_var(name).get_tensor()
        value = np.array(tensor)
        value[~kept[axes[0]]] = 0.0
        tensor.set(value, paddle.CPUPlace())


def exact(files: Path, folder: Path, fold: bool, fraction: float) -> dict[str, Any]:
    """Channels removed, against the whole model with these channels at zero; and what comes out as ONNX."""
    import numpy as np
    import onnxruntime

    from stages.paddle.lightening import channels as pruner
    from stages.paddle.lightening.channel_groups import find_channels
    from stages.paddle.models.onnx_export import export_onnx
    from stages.paddle.runtime.program import fresh_scope, load_program

    asked = pruner.Pruning(fraction, pruner.MAGNITUDE, pruner.UNIFORM, refit=False)
    with fresh_scope() as scope:
        whole = load(files, scope, fold)
        channels = find_channels(whole)
        kept = pruner.choose(whole, scope, channels, asked)
        silence(scope, channels, kept)
        expected = outputs(saved(whole, folder / "silent"))
    with fresh_scope() as scope:
        whole = load(files, scope, fold)
        small = pruner.prune_channels(whole, scope, asked)
        got = outputs(saved(small.program, folder / "small"))
    with fresh_scope() as scope:
        again = load_program(folder / "small" / "model.pdmodel", folder / "small" / "model.pdiparams")
        declared = {
            op.input("Filter")[0]: (
                again.shape(op.input("Filter")[0]),
                list(np.array(scope.find_var(op.input("Filter")[0]).get_tensor()).shape),
                again.shape(op.input("Input")[0])[1],
                again.shape(op.output("Output")[0])[1],
            )
            for op in again.ops()
            if op.type == "conv2d"
        }
    export_onnx(folder / "small" / "model.pdmodel", folder / "small" / "model.pdiparams", folder / "m.onnx", opset=13)
    session = onnxruntime.InferenceSession(str(folder / "m.onnx"), providers=["CPUExecutionProvider"])
    own = {i.name for i in session.get_inputs()}
    onnx = session.run(None, {name: value for name, value in next(feeds()).items() if name in own})
    return {
        "difference": apart(got, expected),
        "onnx_difference": apart(onnx, got),
        "varies": min(float(value.std()) for value in got),
        "shapes": [list(value.shape) for value in got],
        "macs": small.macs,
        "group_macs": [sum(g.macs[0] for g in small.groups), sum(g.macs[1] for g in small.groups)],
        "groups": [[list(g.layers), *g.channels] for g in small.groups],
        "consistent": all(a == b and a[1] == read and a[0] == written for a, b, read, written in declared.values()),
        "convolutions": len(declared),
    }


def nothing(files: Path, folder: Path) -> dict[str, bool]:
    """A fraction of zero: the same bytes of parameters, the same bits of the outputs."""
    from stages.paddle.lightening import channels as pruner
    from stages.paddle.runtime.program import fresh_scope

    with fresh_scope() as scope:
        whole = load(files, scope, True)
        before = saved(whole, folder / "before")
        small = pruner.prune_channels(whole, scope, pruner.Pruning(0.0))
        after = saved(small.program, folder / "after")
    pairs = zip(outputs(before), outputs(after), strict=True)
    return {
        "program": small.program is whole,  # each saving names its outputs anew
        "parameters": (before / "model.pdiparams").read_bytes() == (after / "model.pdiparams").read_bytes(),
        "outputs": all((a == b).all() for a, b in pairs),
        "macs": small.macs[0] == small.macs[1],
    }


def refusals(files: Path) -> dict[str, str]:
    from stages.errors import ConfigError, StageError
    from stages.paddle.lightening import channels as pruner
    from stages.paddle.lightening.selection import Rule
    from stages.paddle.runtime.program import fresh_scope

    cases: dict[str, pruner.Pruning] = {
        "fraction": pruner.Pruning(1.0),
        "criterion": pruner.Pruning(0.3, "luck", "somewhere"),
        "images": pruner.Pruning(0.3),
        "nothing": pruner.Pruning(0.3, pruner.MAGNITUDE, rule=Rule(multiple=512), refit=False),
    }
    found = {}
    with fresh_scope() as scope:
        whole = load(files, scope, True)
        for name, asked in cases.items():
            try:
                pruner.prune_channels(whole, scope, asked)
                found[name] = ""
            except (ConfigError, StageError) as error:
                found[name] = str(error)
    return found


def chosen(files: Path, folder: Path) -> dict[str, Any]:
    """What each criterion and spread does on images: MACs, work, groups, and how far the outputs move."""
    from stages.paddle.lightening import channels as pruner
    from stages.paddle.lightening import selection
    from stages.paddle.runtime.program import fresh_scope

    with fresh_scope() as scope:
        expected = outputs(saved(load(files, scope, True), folder / "whole"))
    found = {}
    for criterion in pruner.CRITERIA:
        for spread in pruner.SCOPES:
            for refit in (False, True) if spread == pruner.UNIFORM else (True,):
                with fresh_scope() as scope:
                    whole = load(files, scope, True)
                    asked = pruner.Pruning(0.3, criterion, spread, refit=refit)
                    small = pruner.prune_channels(whole, scope, asked, lambda: feeds(1))
                    name = f"{criterion} {spread}{' refit' if refit else ''}"
                    found[name] = {
                        "macs": small.macs,
                        "work": selection.total(small.channels, small.kept),
                        "groups": [g.channels for g in small.groups],
                        "difference": apart(outputs(saved(small.program, folder / name)), expected),
                    }
    return found


def toy(paddle: Any) -> tuple[Any, Any]:
    """A network with a branch of each kind, and an operator that nobody knows; its program and executor."""
    from stages.paddle.runtime.program import Program

    main, startup = paddle.static.Program(), paddle.static.Program()
    conv: Callable[..., Any] = paddle.static.nn.conv2d
    with paddle.static.program_guard(main, startup), paddle.utils.unique_name.guard():
        image = paddle.static.data("image", [1, 3, SIZE, SIZE])
        a = paddle.nn.functional.relu(conv(image, 16, 3, padding=1, param_attr="first"))
        deep = conv(a, 16, 3, padding=1, groups=16, param_attr="deep", bias_attr=False)
        b = conv(paddle.nn.functional.silu(deep), 24, 1, param_attr="second")
        both = paddle.concat([b, deep], axis=1)
        attention = paddle.nn.functional.sigmoid(conv(both.mean([2, 3], keepdim=True), 40, 1, param_attr="attention"))
        c = conv(both * attention, 32, 3, padding=1, param_attr="third")
        d = c + conv(paddle.nn.functional.max_pool2d(c, 3, 1, 1), 32, 1, param_attr="residual")
        known = conv(d, 16, 1, param_attr="known")
        unknown = conv(paddle.cumsum(known, axis=1), 16, 1, param_attr="behind")
        pair = conv(image, 16, 3, padding=1, param_attr="pair")
        halves = conv(pair, 16, 3, padding=1, groups=2, param_attr="halves")
        out = conv(paddle.concat([unknown, halves], axis=1), 5, 1, param_attr="last")
    executor = paddle.static.Executor(paddle.CPUPlace())
    executor.run(startup)
    return Program(main, ["image"], [out.name]), executor


def small_network() -> dict[str, Any]:
    """The groups of the toy; and what it computes without channels that are at zero."""
    import numpy as np
    import paddle

    from stages.paddle.lightening import channels as pruner
    from stages.paddle.lightening.channel_groups import find_channels
    from stages.paddle.lightening.selection import Rule
    from stages.paddle.runtime.program import fresh_scope

    asked = pruner.Pruning(0.4, pruner.MAGNITUDE, pruner.UNIFORM, rule=Rule(8, 8), refit=False)
    image = {"image": next(feeds())["image"]}
    with fresh_scope() as scope:
        program, executor = toy(paddle)
        channels = find_channels(program)
        kept = pruner.choose(program, scope, channels, asked)
        silence(scope, channels, kept)
        (expected,) = executor.run(program.desc, feed=image, fetch_list=program.fetches)
        small = pruner.prune_channels(program, scope, asked)
        (got,) = executor.run(small.program.desc, feed=image, fetch_list=small.program.fetches)
    return {
        "groups": sorted([list(g.layers), *g.channels] for g in small.groups),
        "difference": float(np.abs(got - expected).max() / np.abs(expected).max()),
    }


def costs() -> dict[str, Any]:
    """The toy brought down to a limit in work, in time, and to one that is out of reach."""
    import numpy as np
    import paddle

    from stages.errors import ConfigError
    from stages.paddle.lightening import channels as pruner
    from stages.paddle.lightening import selection
    from stages.paddle.lightening.channel_groups import find_channels
    from stages.paddle.runtime.program import fresh_scope

    def asked(limit: float) -> pruner.Pruning:
        return pruner.Pruning(criterion=pruner.MAGNITUDE, limit=limit, rule=selection.Rule(8, 8), refit=False)

    found: dict[str, Any] = {}
    with fresh_scope() as scope:
        program, _ = toy(paddle)
        channels = find_channels(program)
        whole = np.ones(channels.count, bool)
        limit = 0.8 * selection.total(channels, whole)
        found["work"] = [limit, selection.total(channels, pruner.prune_channels(program, scope, asked(limit)).kept)]
        second = next(one for one in channels.convolutions if one.weight == "second")
        counted = {(16, 24), (16, 32), (13, 32), (12, 32)}
        found["counted"] = {
            f"{r} {w}": selection.work(second, r, w) / second.positions - selection.VALUE * w for r, w in counted
        }
    with fresh_scope() as scope:
        program, _ = toy(paddle)
        times = {one.weight: 1.0 for one in channels.convolutions if one.weight != "deep"}
        cost = selection.timed(channels, times)
        found["milliseconds"] = [len(times), selection.total(channels, whole, cost)]
        # A convolution with 8 of 16 channels is no faster where kernels take 16 at a time.
        first = next(one for one in channels.convolutions if one.weight == "first")
        found["blocks"] = [selection.timed(channels, times, value_ns=0.0)(first, 3, count) for count in (16, 8)]
        limit = 0.9 * selection.total(channels, whole, cost)
        small = pruner.prune_channels(program, scope, asked(limit), cost=cost)
        found["time"] = [limit, selection.total(channels, small.kept, cost)]
    with fresh_scope() as scope:
        program, _ = toy(paddle)
        for name, limit in (("unreachable", 1.0), ("untimed", 0.0)):
            try:
                if name == "untimed":
                    selection.timed(channels, {"other": 1.0})
                pruner.prune_channels(program, scope, asked(limit))
            except ConfigError as error:
                found[name] = str(error)
    return found


def copies() -> dict[str, float]:
    """Channels that say the same as others are removed: with and without ``refit``."""
    import numpy as np
    import paddle

    from stages.paddle.lightening import channels as pruner
    from stages.paddle.lightening.channel_groups import find_channels
    from stages.paddle.lightening.refit import refit
    from stages.paddle.lightening.statistics import find_moments
    from stages.paddle.runtime.program import fresh_scope

    image = {"image": next(feeds())["image"]}
    found = {}
    for name in ("plain", "refit"):
        with fresh_scope() as scope:
            program, executor = toy(paddle)
            channels = find_channels(program)
            first = next(one for one in channels.convolutions if one.weight == "first")
            deep = next(one for one in channels.convolutions if one.weight == "deep")
            for parameter in ("first", "deep", first.bias):
                tensor = scope.find_var(parameter).get_tensor()
                value = np.array(tensor)
                value[8:] = value[:8]
                tensor.set(value, paddle.CPUPlace())
            (expected,) = executor.run(program.desc, feed=image, fetch_list=program.fetches)
            values = {p: np.array(scope.find_var(p).get_tensor()) for p in channels.parameters}
            kept = np.ones(channels.count, bool)
            kept[deep.writes[8:]] = False
            moments = find_moments(program, channels.sources(), [image], 1)
            changed = refit(channels, kept, values, moments, ridge=1e-7) if name == "refit" else {}
            small = pruner.remove(program, scope, channels, kept, changed)
            (got,) = executor.run(small.program.desc, feed=image, fetch_list=small.program.fetches)
            found[name] = float(np.abs(got - expected).max() / np.abs(expected).max())
    return found


def main(models: dict[str, dict[str, Any]], folder: Path) -> dict[str, Any]:
    from stages.paddle.models.freeze import freeze_checkpoint

    found: dict[str, Any] = {"exact": {}, "toy": small_network(), "costs": costs(), "copies": copies()}
    for name, fields in models.items():
        files = folder / name
        files.mkdir()
        options = ModelOptions(**{**fields, "input_size": [SIZE, SIZE], "labels": LABELS})
        freeze_checkpoint(options, None, files, batch=1)
        for form, fold in FORMS[name].items():
            found["exact"][f"{name} {form}"] = exact(files, folder / f"{name}-{form}", fold, 0.5)
    tiny = folder / "ppyoloe_tiny"
    return {
        **found,
        "nothing": nothing(tiny, folder / "nothing"),
        "refusals": refusals(tiny),
        "chosen": chosen(tiny, folder / "chosen"),
    }


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin), Path(sys.argv[1]))))
