"""FastDeploy 1.0.x: one interface over the runtimes that its package brings.

PyPI's ``fastdeploy-gpu-python`` is a placeholder of a few kilobytes without a runtime (0.1.0), and FastDeploy 2 is
another program. The 1.0.x wheels lie on an index of PaddlePaddle's own, which FastDeploy's installation page names.
FastDeploy does not tell what it makes of a graph, so these engines have no audit.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from stages.artifacts import Engine, ExportedModel, Precision
from stages.backends.base import (
    Array,
    Available,
    Built,
    Feeds,
    Session,
    Unavailable,
    cpu_name,
    nvidia_driver,
    nvidia_gpus,
    own_options,
    parse_options,
    version_of,
)
from stages.backends.fastdeploy.options import RUNTIMES, FastDeployOptions
from stages.backends.tensorrt.backend import NO_GPU
from stages.errors import StageError, UnavailableError
from stages.options.backend import BackendOptions

DISTRIBUTIONS = ("fastdeploy-gpu-python", "fastdeploy-python")
INSTALL = "pip install fastdeploy-gpu-python==1.0.7 -f INDEX (the wheel index on FastDeploy's installation page)"
PLACEHOLDER = "is PyPI's placeholder, which holds no runtime"
NEEDS_GPU = ("tensorrt", "paddle_tensorrt")
ONNX_FILE, PROGRAM, PARAMS = "model.onnx", "model.pdmodel", "model.pdiparams"
CACHE = "model.trt"


class FastDeploy:
    """FastDeploy's runtime layer; its own pre- and postprocessing is not used, so that it is the same everywhere."""

    name: ClassVar[str] = "fastdeploy"
    Options: ClassVar[type[BackendOptions]] = FastDeployOptions
    for_gpus: ClassVar[bool] = True

    def availability(self, options: BackendOptions | None = None) -> Available | Unavailable:
        chosen = _own(options or FastDeployOptions())
        found = {name: version for name in DISTRIBUTIONS if (version := version_of(name)) is not None}
        if not found:
            return Unavailable("FastDeploy is not installed", INSTALL)
        real = {name: version for name, version in found.items() if version.startswith("1.")}
        if not real:
            name, version = next(iter(found.items()))
            problem = PLACEHOLDER if version.startswith("0.") else "has another interface than FastDeploy 1.0"
            return Unavailable(f"the installed {name} {version} {problem}", INSTALL)
        name, version = next(iter(real.items()))
        if chosen.device == "gpu" and "gpu" not in name:
            return Unavailable(f"{name} {version} runs on the CPU only", INSTALL)
        if chosen.device == "gpu" and nvidia_driver() is None:
            return Unavailable(NO_GPU)
        return Available(f"{name} {version}, {chosen.runtime} on {chosen.device}")

    def fingerprint(self) -> Mapping[str, str]:
        found = {name: version_of(name) for name in (*DISTRIBUTIONS, "onnx")}
        found |= {"driver": nvidia_driver(), "gpu": ", ".join(nvidia_gpus())}
        return {**{k: v for k, v in found.items() if v}, "cpu": cpu_name()}

    def prepare(self) -> None:
        _import()

    def build(self, model: ExportedModel, precision: Precision, options: BackendOptions, out: Path) -> Built:
        chosen = _own(options)
        recipe, notes = RUNTIMES[chosen.runtime], dict[str, Any]()
        if recipe is None:
            for name in (PROGRAM, PARAMS):
                shutil.copyfile(model.path(name), out / name)
        elif precision is Precision.INT8:
            import onnx

            from stages.lowering.passes import lower

            names = recipe if chosen.lowering is None else tuple(chosen.lowering)
            lowered, notes["passes"] = lower(onnx.load(str(model.path(ONNX_FILE))), names)
            onnx.save(lowered, str(out / ONNX_FILE))
        else:
            shutil.copyfile(model.path(ONNX_FILE), out / ONNX_FILE)
        main = ONNX_FILE if recipe is not None else PROGRAM
        feeds = {model.image_input: np.ones((model.batch, 3, *model.input_size), np.float32)}
        if model.scale_factor:
            feeds[model.scale_input] = np.ones((model.batch, 2), np.float32)
        # One run, so that what FastDeploy refuses fails here, and TensorRT's engine is made and kept.
        _session(_import(), out, main, feeds, chosen, [model.boxes_output, model.scores_output]).infer(feeds)
        return Built(main=main, notes=notes)

    @contextmanager
    def open(self, engine: Engine) -> Iterator[Session]:
        options = parse_options(self.name, FastDeployOptions, engine.options)
        feeds = {engine.image_input: np.ones((engine.batch, 3, *engine.input_size), np.float32)}
        if engine.scale_factor:
            feeds[engine.scale_input] = np.ones((engine.batch, 2), np.float32)
        names = [engine.boxes_output, engine.scores_output]
        engine.path(engine.main)  # raises, unless it is one of the engine's files
        yield _session(_import(), engine.root, engine.main, feeds, options, names)


class _Session:
    def __init__(self, runtime: Any, outputs: list[str], file: str) -> None:
        have = [runtime.get_output_info(i).name for i in range(runtime.num_outputs())]
        # Paddle names its outputs by itself and keeps their order; ONNX keeps the names.
        self._order = [have.index(name) for name in outputs] if set(outputs) <= set(have) else [0, 1]
        if len(have) < 2:
            raise StageError(f"{file} has {len(have)} outputs in FastDeploy, not boxes and scores; export it again")
        self._runtime = runtime

    def infer(self, feeds: Feeds) -> list[Array]:
        found = self._runtime.infer(dict(feeds))
        return [np.asarray(found[i]) for i in self._order]


def configured(fd: Any, folder: Path, main: str, feeds: Feeds, options: FastDeployOptions) -> Any:
    """FastDeploy's option object for an engine.

    Args:
        fd: the module ``fastdeploy``.
        feeds: the inputs, whose shapes are fixed: TensorRT is told so.
    """
    option = fd.RuntimeOption()
    if options.device == "gpu":
        option.use_gpu(0)
    else:
        option.use_cpu()
        option.set_cpu_thread_num(options.threads)
    if main == ONNX_FILE:
        option.set_model_path(str(folder / main), "", fd.ModelFormat.ONNX)
    else:
        option.set_model_path(str(folder / main), str(folder / PARAMS), fd.ModelFormat.PADDLE)
    if options.runtime == "ort":
        option.use_ort_backend()
    elif options.runtime == "openvino":
        option.use_openvino_backend()
    elif options.runtime == "paddle":
        option.use_paddle_infer_backend()
    else:
        option.use_trt_backend()
        if options.runtime == "paddle_tensorrt":
            option.enable_paddle_to_trt()
            option.enable_paddle_trt_collect_shape()
        else:
            option.set_trt_cache_file(str(folder / CACHE))
        for name, value in feeds.items():
            option.set_trt_input_shape(name, list(value.shape))
        if options.fp16:
            option.enable_trt_fp16()
    if options.pinned:
        option.enable_pinned_memory()
    return option


def _session(
    fd: Any, folder: Path, main: str, feeds: Feeds, options: FastDeployOptions, outputs: list[str]
) -> _Session:
    try:
        runtime = fd.Runtime(configured(fd, folder, main, feeds, options))
    except (AssertionError, RuntimeError) as error:  # FastDeploy asserts that its native part could start
        raise StageError(
            f"FastDeploy cannot open {main} with {options.runtime} on {options.device} "
            f"({str(error).splitlines()[0] if str(error) else 'no reason given'}); its messages stand in the log"
        ) from error
    return _Session(runtime, outputs, main)


def _import() -> Any:
    try:
        module = importlib.import_module("fastdeploy")
    except (ImportError, OSError) as error:
        raise UnavailableError(f"fastdeploy cannot be imported ({error}); {INSTALL}") from error
    if not hasattr(module, "RuntimeOption"):
        raise UnavailableError(f"the installed fastdeploy {PLACEHOLDER}; {INSTALL}")
    return module


def _own(options: BackendOptions) -> FastDeployOptions:
    problems = list(_contradictions(options)) if isinstance(options, FastDeployOptions) else []
    return own_options("fastdeploy", FastDeployOptions, options, problems)


def _contradictions(options: FastDeployOptions) -> Iterator[str]:
    of = "backend.fastdeploy"
    if options.runtime in NEEDS_GPU and options.device != "gpu":
        yield f"{of}.device: {of}.runtime={options.runtime} needs a GPU; set it to gpu"
    if options.runtime == "openvino" and options.device == "gpu":
        yield f"{of}.device: {of}.runtime=openvino runs on the CPU; set it to cpu"
    if options.fp16 and options.runtime not in NEEDS_GPU:
        yield f"{of}.fp16: it is for the runtimes {' and '.join(NEEDS_GPU)}; set it to false"
    if options.pinned and (options.device != "gpu" or options.runtime not in ("tensorrt", "paddle", "paddle_tensorrt")):
        yield f"{of}.pinned: it is for TensorRT and Paddle on a GPU; set it to false"
    if options.lowering is not None and RUNTIMES.get(options.runtime, "") is None:
        yield f"{of}.lowering: it changes ONNX graphs, which {options.runtime} does not read; set it to null"
