"""One step of ``check.py``, in this process: ``steps.py NAME ARGUMENTS``, the arguments as JSON; so is the last line.

Needs Python, numpy, onnx; ONNX Runtime and TensorRT for RTX by step. What cannot be had ends the step as
``unavailable``; nothing runs elsewhere than it was asked to.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # isolated Python leaves it out

from missing import Missing

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
LIBRARIES = ("cudart", "nvrtc", "nvJitLink", "cublasLt", "cublas", "cufft", "curand", "cudnn")
BOUNDS = {"fp32": 1e-3, "fp16": 0.05, "int8": 0.1, "int8_fp16": 0.1}
"""Variant -> how large the mean difference to the reference may be, as a part of the reference's mean size."""


SHARE, SLOWER = 0.05, 1.15
"""Others' share of the GPU's time, and the fall of its clock, from which on a timing is disturbed."""


def machine() -> dict[str, Any]:
    """Which GPUs, which driver, which CUDA it can run; from the driver's own library."""
    from rtx import Driver

    proc = Path("/proc/driver/nvidia/version")
    driver = proc.read_text().splitlines()[0] if proc.is_file() else None
    about: dict[str, Any] = {"python": sys.version.split()[0], "driver": driver, "cuda": None, "gpus": [], "why": None}
    try:
        found = Driver()
    except (OSError, RuntimeError) as error:
        return {**about, "why": f"no GPU can be used: {error}"}
    return {**about, "cuda": found.cuda_version(), "gpus": found.gpus()}


def ort_session(
    model: Any,
    provider: str,
    profile: Path | None = None,
    plain: bool = False,
    options: dict[str, str] | None = None,
) -> Any:
    """A session that runs where it is asked to, or none.

    Args:
        model: the filled graph.
        profile: a folder; the session then records which provider ran each node.
        plain: run the graph as it stands, without ONNX Runtime's rewriting.
        options: more of the provider's options.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise Missing(f"onnxruntime cannot be imported ({error})") from error
    if PROVIDERS[provider] not in ort.get_available_providers():
        raise Missing(f"onnxruntime {ort.__version__} has no {PROVIDERS[provider]}; bring the parts with the wheel")
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    if plain:
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if profile is not None:
        settings.enable_profiling = True
        settings.profile_file_prefix = str(profile / "profile")
    chain: list[Any] = [PROVIDERS["cpu"]]
    if provider == "cuda":
        _load_cuda()
        own = {"use_tf32": "0", **(options or {})}  # FP32 is FP32: TF32 keeps 10 of 23 bits
        chain.insert(0, (PROVIDERS["cuda"], own))
    session = ort.InferenceSession(model.SerializeToString(), settings, providers=chain)
    if session.get_providers()[0] != PROVIDERS[provider]:
        raise Missing(f"ONNX Runtime fell back to {session.get_providers()[0]}: the libraries of CUDA do not load")
    return session


def _load_cuda() -> None:
    """CUDA's libraries out of NVIDIA's Python packages, where they are in no folder that the loader searches."""
    for name in LIBRARIES:
        for folder in sys.path:
            for path in sorted(Path(folder).glob(f"nvidia/*/lib/lib{name}.so.*")):
                with contextlib.suppress(OSError):  # of another version; ONNX Runtime says itself what it lacks
                    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def feeds(model: Any) -> dict[str, Any]:
    """One drawn image, and ones for the factors of scale."""
    import fill
    import numpy as np

    found = {}
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        if value.name in weights:
            continue
        if len(shape) < 3:
            found[value.name] = np.ones(shape, np.float32)
        else:
            entry = {"name": value.name, "shape": shape, "dtype": "float32", "mean": 0.0, "deviation": 1.0}
            found[value.name] = fill.draw("image", entry)
    return found


def compared(outputs: list[Any], expected: list[Any], variant: str) -> dict[str, Any]:
    """The mean and the largest difference, each as a part of the reference's mean size; of the worst output."""
    import numpy as np

    bound = BOUNDS[variant.removeprefix("rtx_")]
    mean = largest = 0.0
    for a, b in zip(outputs, expected, strict=True):
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return {"status": "differs", "reason": "the outputs are not finite", "bound": bound}
        gap, size = np.abs(np.float64(a) - np.float64(b)), max(float(np.abs(np.float64(b)).mean()), 1e-12)
        mean, largest = max(mean, float(gap.mean()) / size), max(largest, float(gap.max()) / size)
    row: dict[str, Any] = {"status": "ok", "difference": mean, "largest": largest, "bound": bound}
    if mean > bound:
        row |= {"status": "differs", "reason": f"differs from the graph by {mean:.2g} of its size"}
    return row


def ort(folder: str, graph: str, variant: str, provider: str) -> dict[str, Any]:
    """Run a graph, count what ran where, and compare with the same graph as it stands on the CPU."""
    import fill

    model = fill.load(Path(folder), graph)
    given = feeds(model)
    with tempfile.TemporaryDirectory() as scratch:
        session = ort_session(model, provider, Path(scratch))
        outputs = session.run(None, given)
        profile = json.loads(Path(session.end_profiling()).read_text())
    placed = {e["name"]: e["args"] for e in profile if e.get("cat") == "Node" and e.get("args", {}).get("provider")}
    nodes = collections.Counter(args["provider"] for args in placed.values())
    own = PROVIDERS[provider]
    elsewhere = collections.Counter(a["op_name"] for a in placed.values() if a["provider"] != own)
    expected = ort_session(model, "cpu", plain=True).run(None, given)
    row = compared(outputs, expected, variant)
    if not nodes[own]:
        row |= {"status": "failed", "reason": f"not a node ran on {own}"}
    return {**row, "nodes": dict(nodes), "elsewhere": dict(elsewhere)}


def in_turns(folder: str, graphs: dict[str, str], provider: str, seconds: float, whole: list[str]) -> dict[str, Any]:
    """Rounds of several graphs (variant -> graph), host to host, and what NVML tells of the GPU meanwhile.

    ``whole`` names those of which every node runs on the GPU: they are launched as CUDA graphs, as detpress does it, in
    the faster layout (``launched``), and kernel by kernel beside it (rounds under the variant's name and ``/plain``).
    ``disturbed``: why the timings are not to be believed; ``gpu`` is nothing where NVML cannot be asked.
    """
    import fill
    import turns

    engines: dict[str, Callable[[], object]] = {}
    launched = {}
    for variant, graph in graphs.items():
        model = fill.load(Path(folder), graph)
        try:
            launched[variant], runs = _launched(model, provider, whole=variant in whole)
        except Exception as error:  # the libraries' own errors share no class; the others are timed all the same
            launched[variant] = {"failed": (str(error).strip() or type(error).__name__).splitlines()[0]}
        else:
            engines |= {f"{variant}{suffix}": run for suffix, run in runs.items()}
    found, usages = _watched(lambda watch: turns.rounds(engines, seconds, watch), provider)
    return {"status": "ok", "rounds": found, "launched": launched, **usages}


def _launched(model: Any, provider: str, *, whole: bool) -> tuple[Any, dict[str, Callable[[], object]]]:
    """How a graph is opened, and functions that run it once: so, and plainly."""
    import cuda_launch

    given = feeds(model)

    def opened(options: dict[str, str]) -> Callable[[], object]:
        session = ort_session(model, provider, options=options)
        if "enable_cuda_graph" not in options:
            return lambda: session.run(None, given)
        launch = cuda_launch.GraphSession(session, [value.name for value in session.get_outputs()])
        return lambda: launch.infer(given)

    plain = opened({})
    if provider != "cuda":
        return None, {"": plain}
    graph = {"enable_cuda_graph": "1"} if whole else {}
    layouts: dict[bool, Callable[[], object]] = {}

    def laid_out(nhwc: bool) -> Callable[[], object]:
        layouts[nhwc] = opened({**graph, **({"prefer_nhwc": "1"} if nhwc else {})})
        return layouts[nhwc]

    found = cuda_launch.faster_layout(laid_out)
    return {"graph": whole, **found}, {"": layouts[found["nhwc"]], "/plain": plain}


def _watched(timing: Callable[[Callable[[], None]], Any], provider: str) -> tuple[Any, dict[str, Any]]:
    """What a timing gave, and what NVML told after each of its rounds, while the clocks were still up."""
    import gpu_clocks

    probe = gpu_clocks.gpu_probe() if provider == "cuda" else None
    if probe is None:
        return timing(lambda: None), {"disturbed": [], "gpu": None}
    usages: list[Any] = []

    def look() -> None:
        usages.append(probe.stop())
        probe.start()

    probe.start()
    found = timing(look)
    told = gpu_clocks.evidence(usages)
    return found, {"disturbed": gpu_clocks.reasons(told, SHARE, SLOWER), "gpu": told}


def rtx_accepts() -> dict[str, Any]:
    """Whether TensorRT for RTX takes this GPU at all: one convolution, built and run."""
    import rtx

    return rtx.accepts()


def rtx_builds(folder: str, graph: str, why: str) -> dict[str, Any]:
    """Whether a graph can be built, where it cannot run for the reason ``why``."""
    import fill
    import rtx

    rtx.build(rtx.module(), fill.load(Path(folder), graph).SerializeToString())
    return {"status": "never", "reason": f"it builds; {why}"}


def rtx_graph(folder: str, graph: str, variant: str, seconds: float) -> dict[str, Any]:
    """Build and run a graph with TensorRT for RTX, compare it with ONNX Runtime on the CPU, time it."""
    import fill
    import rtx
    import turns

    model = fill.load(Path(folder), graph)
    given = feeds(model)
    engine = rtx.Engine(model.SerializeToString())
    names = [value.name for value in model.graph.output]
    row = compared(engine.run(given, names), ort_session(model, "cpu", plain=True).run(names, given), variant)
    return {**row, "rounds": turns.rounds({variant: lambda: engine.run(given, names)}, seconds)}


STEPS = {f.__name__: f for f in (machine, ort, in_turns, rtx_accepts, rtx_builds, rtx_graph)}


def main() -> None:
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    for folder in arguments.pop("paths", []):
        sys.path.insert(0, folder)
    try:
        found = STEPS[name](**arguments)
    except Missing as error:
        found = {"status": "unavailable", "reason": str(error)}
    except Exception as error:  # the libraries' own errors share no class; the row tells it
        found = {"status": "failed", "reason": f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
