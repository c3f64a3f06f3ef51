"""What one would use in detpress's place, as stages: ONNX Runtime's own quantization, and NNCF's on OpenVINO.

Both get the FP32 model and the calibration images that detpress's own post-training quantization got, and write an
engine that the latency harness opens as it opens ours.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from stages.artifacts import Engine, ExportedModel, ImageList, Precision
from stages.backends.audit import audit_onnx
from stages.backends.onnxruntime.options import OnnxRuntimeOptions
from stages.backends.openvino.options import OpenVinoOptions
from stages.build.build import engine_of
from stages.contract import StageContext
from stages.detection.inference import feeds_for
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.numerics.variants import FloatFormat


@dataclass(frozen=True)
class RivalInputs:
    """The exported FP32 model, and the images to calibrate on."""

    model: ExportedModel
    images: ImageList


@dataclass
class StaticOptions:
    """``quantize_static``."""

    form: str = "QDQ"
    """``QDQ`` or ``QOperator``: how the quantized graph is written."""


@dataclass
class NncfOptions:
    """``nncf.quantize``."""

    preset: str = "PERFORMANCE"
    """``PERFORMANCE`` or ``MIXED`` (activations around zero, or with a zero point)."""


class QuantizeStatic:
    """``onnxruntime.quantization.quantize_static`` with what its documentation advises for a CNN on x86.

    Optimized pre-processing (symbolic and ONNX shape inference, graph optimization), uint8 activations, int8 weights
    per channel; the full range of weights, which is right for a CPU with VNNI (`reduce_range` changes no speed).
    """

    name: ClassVar[str] = "quantize_static"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx")
    Options: ClassVar[type] = StaticOptions
    Inputs: ClassVar[type] = RivalInputs
    Output: ClassVar[type[Engine]] = Engine

    def __init__(self, options: StaticOptions) -> None:
        self.options = options

    def run(self, inputs: RivalInputs, context: StageContext) -> Engine:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        from stages.backends.onnxruntime.backend import ENGINE_FILE, inspected

        feeds = _feeds(inputs)

        class Reader(CalibrationDataReader):
            def get_next(self) -> Any:
                return next(feeds, None)

        with tempfile.TemporaryDirectory() as scratch:
            prepared = Path(scratch) / "prepared.onnx"
            quant_pre_process(str(inputs.model.path("model.onnx")), str(prepared))
            quantize_static(
                str(prepared),
                str(context.out / ENGINE_FILE),
                Reader(),
                quant_format=QuantFormat[self.options.form],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        options = OnnxRuntimeOptions()
        audit = inspected(context.out / ENGINE_FILE, options, FloatFormat.FP32, audit_onnx)
        return _engine(inputs.model, context.out, "onnxruntime", ENGINE_FILE, options, audit)


class Nncf:
    """``nncf.quantize`` on the OpenVINO model; the engine is opened as ours is, with the ``f32`` hint."""

    name: ClassVar[str] = "nncf"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("nncf", "openvino")
    Options: ClassVar[type] = NncfOptions
    Inputs: ClassVar[type] = RivalInputs
    Output: ClassVar[type[Engine]] = Engine

    def __init__(self, options: NncfOptions) -> None:
        self.options = options

    def run(self, inputs: RivalInputs, context: StageContext) -> Engine:
        import nncf
        import openvino

        from stages.backends.openvino.backend import MAIN, _compile
        from stages.backends.openvino.executed import audit_openvino

        feeds = list(_feeds(inputs))
        quantized = nncf.quantize(
            openvino.Core().read_model(inputs.model.path("model.onnx")),
            nncf.Dataset(feeds),
            preset=nncf.QuantizationPreset[self.options.preset],
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(feeds),
        )
        openvino.save_model(quantized, str(context.out / MAIN), compress_to_fp16=False)
        options = OpenVinoOptions()
        audit = audit_openvino(_compile(openvino, context.out / MAIN, options))
        return _engine(inputs.model, context.out, "openvino", MAIN, options, audit)


def _feeds(inputs: RivalInputs) -> Iterator[dict[str, Any]]:
    from stages.detection.images import read_image
    from stages.detection.preprocess import Preprocessor
    from stages.detection.unlabeled import listed_paths

    preprocess = Preprocessor(Sidecar.read(inputs.model.path(FILE_NAME)))
    for path in listed_paths(inputs.images):
        image, scale = preprocess.batch([read_image(path)])
        yield dict(feeds_for(inputs.model, image, scale))


def _engine(model: ExportedModel, out: Path, backend: str, main: str, options: Any, audit: dict[str, Any]) -> Engine:
    shutil.copyfile(model.path(FILE_NAME), out / FILE_NAME)
    return engine_of(model, out, backend, Precision.INT8, main, options, {"audit": audit})
