"""Every precision that this CPU has, beside an honest float baseline: ``make bench-table``. The last line is JSON.

PP-YOLOE-s and -l at 640x640 with drawn weights, batch 1, one thread, on ONNX Runtime and OpenVINO: FP32, BF16 where the
CPU has it, INT8, and INT8 with BF16 for what stays float. Each engine of a model has a process, all pinned to one CPU,
and they run in turns, so that what else the machine does meets all and every ratio is one of the same rounds.

- ``ort.int8``, ``openvino.bf16`` and so on: medians of Runtime, milliseconds.
- ``over_fp32``: how many times faster than the same backend's FP32, with bounds of 95 %; ``over_best_float``: than the
  fastest float engine of the same backend, which is named.
- ``ship``: the fastest engine, and why; a float one, unless an INT8 engine is faster than the fastest float engine of
  both backends with certainty. With drawn weights there is no mAP to look at.
- ``unavailable``: what a backend or this CPU has not, and why.
- ``models`` holds the same of each model; at the top stand those of the last one. ``quiet``: whether the latency stage
  would call all of these timings valid.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.execution import ids
from stages import backends
from stages.artifacts import Engine, ImageList
from stages.backends.variants import why_not
from stages.latency.speedups import over_best_float, over_fp32
from stages.latency.timed_engine import RUNTIME
from stages.latency.timing import Series, speedup, summary
from stages.latency.validity import VALID, Limits, verdict
from stages.numerics.variants import is_float, title_of, variant
from stages.options.latency import LatencyOptions
from stages.report.tables import Table
from tests.benchmarks import preparing
from tests.benchmarks.backends import time_all
from tests.conftest import ROOT

SHORT = {"onnxruntime": "ort", "openvino": "openvino"}
"""Backend -> what the last line calls it."""
VARIANTS = ("fp32", "bf16", "int8", "int8_bf16")
Timings = Mapping[str, Series]
"""``ort.int8`` and so on -> its rounds."""


def reasons() -> dict[str, str]:
    """Of each cell that this machine cannot fill, why."""
    found = {}
    for backend, short in SHORT.items():
        own = backends.get(backend)
        for name in VARIANTS:
            if why := why_not(own, variant(name), own.Options()):
                found[f"{short}.{name}"] = why
    return found


def of_backend(timings: Timings, short: str) -> dict[tuple[str, str], Series]:
    """The timings of one backend as the latency stage has them."""
    return {(name.partition(".")[2], RUNTIME): own for name, own in timings.items() if name.startswith(f"{short}.")}


def result(timings: Timings, absent: Mapping[str, str], cpus: list[int]) -> dict[str, Any]:
    """What the last line says of one model."""
    found: dict[str, Any] = {name: round(_ms(own), 2) for name, own in timings.items()}
    over: dict[str, Any] = {"over_fp32": {}, "over_best_float": {}}
    for short in SHORT.values():
        series = of_backend(timings, short)
        for key, ratios in (
            ("over_fp32", over_fp32(series, speedup)),
            ("over_best_float", over_best_float(series, speedup)),
        ):
            over[key] |= {f"{short}.{name}": _rounded(modes[RUNTIME]) for name, modes in ratios.items()}
    limits = Limits(LatencyOptions().max_foreign, LatencyOptions().max_drift)
    verdicts = {name: verdict(own, cpus, limits)["verdict"] for name, own in timings.items()}
    quiet = all(one == VALID for one in verdicts.values())
    return {**found, **over, "ship": ship(timings), "unavailable": dict(absent), "quiet": quiet}


def ship(timings: Timings) -> dict[str, Any]:
    """Which engine to ship: the fastest INT8 one that is faster than every float one with certainty, else one in float.

    ``over_best_float`` is that of the engine, or of the fastest INT8 one where it is not certain.
    """
    ordered = sorted(timings, key=lambda name: _ms(timings[name]))
    floats = [name for name in ordered if is_float(name.partition(".")[2])]
    quantized = [name for name in ordered if name not in floats]
    if not quantized:
        return {"engine": floats[0], "why": "no INT8 engine was built"}
    ratios = {name: _rounded(speedup(timings[floats[0]], timings[name])) for name in quantized}
    certain = [name for name in quantized if ratios[name]["low"] is not None and ratios[name]["low"] > 1]
    seen = (certain or quantized)[0]
    ratio = ratios[seen]
    why = f"{seen} is {ratio['median']} times as fast as {floats[0]} ({ratio['low']} to {ratio['high']})"
    return {"engine": seen if certain else floats[0], "over_best_float": ratio, "why": why}


def table(found: Mapping[str, Any], model: str) -> Table:
    """The same in words."""
    rows = []
    for short in SHORT.values():
        for of in VARIANTS:
            name = f"{short}.{of}"
            if name in found["unavailable"]:
                rows.append([short, title_of(of), "unavailable", "", found["unavailable"][name]])
            elif name in found:
                over = found["over_best_float"].get(name)
                against = "" if over is None else f" that of {title_of(over['against'])}"
                cells = [_told(found["over_fp32"].get(name)), _told(over) + against]
                rows.append([short, title_of(of), f"{found[name]:.2f}", *cells])
    return Table(model, ["Backend", "Variant", "ms", "Over FP32", "Over best float"], rows)


def _ms(series: Series) -> float:
    return float(summary(series.all())["median_ms"])


def _rounded(ratio: Mapping[str, Any]) -> dict[str, Any]:
    bounds = {k: None if ratio[k] is None else round(ratio[k], 3) for k in ("median", "low", "high")}
    return {**({"against": ratio["against"]} if "against" in ratio else {}), **bounds}


def _told(ratio: Mapping[str, Any] | None) -> str:
    return "–" if ratio is None else f"{ratio['median']} ({ratio['low']} to {ratio['high']})"


def measured(folder: Path, model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Build and time the engines of one model."""
    absent = reasons()
    wanted = {b: [name for name in VARIANTS if f"{short}.{name}" not in absent] for b, short in SHORT.items()}
    overrides = [f"backend.{backend}.variants=[{','.join(names)}]" for backend, names in wanted.items()]
    config = preparing.config_of(folder, model, options.images, *overrides)
    artifacts = preparing.made(folder, config, preparing.own_nodes(config))
    engines: dict[str, Engine] = {}
    for backend, names in wanted.items():
        for name in names:
            engine = artifacts[ids.build(backend, name)]
            assert isinstance(engine, Engine)
            engines[f"{SHORT[backend]}.{name}"] = engine
    images: ImageList = preparing.images_of(artifacts)
    paths = [entry["path"] for entry in json.loads(images.path("images.json").read_text())]
    timings, cpus = time_all(engines, paths, options.rounds, options.runs)
    found = result(timings, absent, cpus)
    print(table(found, model).markdown(), end="\n\n", flush=True)
    print(f"{model}: ship {found['ship']['engine']}: {found['ship']['why']}", flush=True)
    if not found["quiet"]:
        print("The machine was not quiet: believe the ratios before the times.", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["ppyoloe_s", "ppyoloe_l"])
    parser.add_argument("--images", type=int, default=8, help="to calibrate on")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3, help="of each round")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "detpress-bench-table",
                        help="keeps what was made, for the next call")  # fmt: skip
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    models = {}
    for model in options.models:
        models[model] = measured(options.folder.resolve() / model, model, options)
    print(json.dumps({"model": options.models[-1], **models[options.models[-1]], "models": models}))


if __name__ == "__main__":
    main()
