"""The options of every stage, as plain dataclasses: the one list of what can be configured.

`pipelines/schema.py` registers them with Hydra, so field names here are config keys there. Not frozen, because
OmegaConf would then refuse overrides; stages treat them as read-only. ``MISSING``-like values are not used: what has
to be given is ``None`` by default and checked by name before anything runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ModelOptions:
    """An architecture and where its weights come from (``conf/model``)."""

    name: str = ""
    """Short name, e.g. ``ppyoloe_l``."""
    architecture: dict[str, Any] = field(default_factory=dict)
    """PaddleDetection's registry entries: ``{"architecture": "YOLOv3", "YOLOv3": {...}, "CSPResNet": {...}, ...}``."""
    parameters: int = 0
    """Parameters with 80 classes, as published by PaddleDetection (0: not published)."""
    input_size: list[int] = field(default_factory=lambda: [640, 640])
    """Height, width of the network input."""
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    interpolation: str = "cubic"
    """How images are resized: ``nearest``, ``linear``, ``cubic`` or ``area`` (aspect ratio is not kept)."""
    weights: str | None = None
    """A ``.pdparams`` file: path or URL."""
    weights_sha256: str | None = None
    """Expected digest of a downloaded file; a mismatch is an error."""
    inference_dir: str | None = None
    """A folder with an exported ``model.pdmodel`` + ``model.pdiparams``, in place of ``weights``."""
    random_weights: bool = False
    """Run with untrained weights (for speed measurements; accuracy is then meaningless)."""
    labels: list[str] | None = None
    """Class names; ``None``: the categories of the data set, in order of id."""


@dataclass
class CollectOptions:
    """Which labelled images, or which unlabeled sample (stage ``collect``)."""

    annotations: str | None = None
    """COCO JSON; ``None`` for an unlabeled folder."""
    images: str = ""
    """Folder of images."""
    sample: int | None = None
    """How many images to sample with the run's seed; ``None``: all."""
    max_unreadable: float = 0.05
    """Largest share of unreadable unlabeled images before the run stops; a labelled image always has to be readable."""
    allow_overlap: bool = False
    """Accept images that also occur in the validation set."""
    listing: str = ""
    """Digest of names, sizes and times under ``images``: makes a changed folder a changed key."""


@dataclass
class ShapesOptions:
    """The drawn data set of the demo (stage ``draw``)."""

    train: int = 400
    unlabeled: int = 100
    val: int = 100
    size: list[int] = field(default_factory=lambda: [320, 320])
    seed: int = 7


@dataclass
class DataOptions:
    """Where images and labels are (``conf/data``); the layouts fill the paths in from ``root``."""

    name: str = ""
    """Short name for titles and experiments; empty: the name of the folder ``root``, or ``kind``."""
    kind: str = "coco_folder"
    """``coco``, ``coco_folder`` (labelled images of the user's) or ``shapes`` (the drawn demo)."""
    root: str | None = None
    """Folder of the data set; not used by ``shapes``."""
    train_annotations: str | None = None
    """COCO JSON of the training images (only ``finetune`` needs it)."""
    train_images: str | None = None
    val_annotations: str | None = None
    """COCO JSON of the images that every engine is scored on."""
    val_images: str | None = None
    unlabeled_images: str | None = None
    """Folder of images without labels, searched recursively: what the compression sees."""
    max_unreadable: float = 0.05
    """Largest share of unreadable unlabeled images before the run stops."""
    allow_overlap: bool = False
    """Accept unlabeled images that also occur among the validation images."""
    shapes: ShapesOptions = field(default_factory=ShapesOptions)
    """How the demo's images are drawn (``kind: shapes``)."""


@dataclass
class FinetuneSettings:
    """Training of the FP32 detector: the part the user sets (``finetune`` in the config)."""

    steps: int = 500
    batch: int = 8
    lr: float = 0.002
    warmup_steps: int = 100
    weight_decay: float = 0.0005
    static_steps: int = 50
    """Steps in which a fresh head gets its labels by geometry (ATSS) rather than by its own predictions (TAL)."""
    ema_decay: float = 0.998
    flip: float = 0.5
    color_jitter: float = 0.4
    crop: float = 0.5
    """Probability of each augmentation."""
    checkpoint_every: int = 100
    log_every: int = 10


@dataclass
class FinetuneOptions(FinetuneSettings):
    """Options of stage ``finetune``."""

    model: ModelOptions = field(default_factory=ModelOptions)


@dataclass
class ExportSettings:
    """Freezing and ONNX conversion: the part the user sets (``export`` in the config)."""

    batch: int = 1
    opset: int = 13
    agreement_images: int = 4
    max_difference: float = 1e-3
    """Largest relative difference of ONNX to Paddle outputs that is accepted (FP32)."""


@dataclass
class ExportOptions(ExportSettings):
    """Options of stage ``export``."""

    model: ModelOptions = field(default_factory=ModelOptions)
    precision: str = "fp32"


@dataclass
class NmsOptions:
    """Multi-class NMS, one setting for every backend; the defaults are PP-YOLOE's evaluation settings."""

    score_threshold: float = 0.01
    nms_threshold: float = 0.7
    nms_top_k: int = 1000
    keep_top_k: int = 300


@dataclass
class CompressionSettings:
    """Compression: the part the user sets (``conf/compression``)."""

    method: str = "qat_distill"
    """``qat_distill``, ``ptq`` or ``none`` (FP32 only)."""
    steps: int = 5000
    batch: int = 4
    """Images of a step, in each process."""
    processes: int = 1
    """Processes that train one student together (``qat_distill``): on a GPU each, or on the CPU with a share of the
    threads. A step takes ``batch`` images in each."""
    images: int | None = None
    """How many unlabeled images to sample; ``None``: all."""
    lr: float = 3e-5
    weight_decay: float = 4e-5
    warmup_steps: int = 0
    loss: str = "soft_label"
    """``soft_label`` and ``l2`` (PaddleSlim's), ``detection``: class probabilities and box distributions, or
    ``features``: the neck's features too."""
    temperature: float = 1.0
    """What logits are divided by in ``detection`` and ``features``."""
    feature_weight: float = 1.0
    """Of the relative error of the neck's features in ``features``."""
    alpha: float = 1.0
    use_pact: bool = True
    """Trainable clipping of activations (PACT) before their quantizers, while training."""
    activation_ranges: str = "moving_average"
    """While training: ``moving_average`` of the largest values, or kept as a choice of ``ptq_algo`` found them."""
    weight_quantize_type: str = "channel_wise_abs_max"
    quantize_op_types: list[str] = field(default_factory=lambda: ["conv2d", "depthwise_conv2d"])
    ptq_algo: str = "hist"
    """Activation ranges for ``ptq``: abs_max, avg, hist, KL or mse."""
    calibration_images: int = 32
    """Images on which ranges of activations are observed (``qat_distill``: before and after the steps)."""
    max_map_drop: float | None = None
    """Points of mAP that INT8 may lose on the labelled images (see ``SensitivitySettings``); blocks that cost most are
    left in float until it holds. ``None``: every block is quantized."""
    min_speedup: float = 1.0
    """With ``max_map_drop``: no further block is left in float if the engine were less than this many times as fast as
    FP32."""
    eval_every: int | None = 500
    """Steps between two scores of the student; the best one is exported. ``None``: not scored, the last is exported."""
    eval_by: str = "loss"
    """``loss``: the distillation loss on images held out of the unlabeled ones; ``map``: mAP on training labels."""
    eval_images: int = 16
    """Images for a score; they are not trained on. Of the unlabeled ones a quarter at most."""
    checkpoint_every: int = 100
    log_every: int = 10


@dataclass
class DistillOptions(CompressionSettings):
    """Options of stage ``distill``; NMS is the one that scoring uses."""

    model: ModelOptions = field(default_factory=ModelOptions)
    nms: NmsOptions = field(default_factory=NmsOptions)


@dataclass
class SensitivitySettings:
    """What each block costs when it is quantized: the part the user sets (``sensitivity`` in the config)."""

    backend: str | None = None
    """Whose engines are measured; ``None``: ``onnxruntime`` if it is among the run's backends, else the first."""
    labels: str = "auto"
    """Labelled images that blocks are judged on: ``train``, ``val``, ``none`` (distance of the outputs on unlabeled
    images), or ``auto``: the first of these that there is. The final score uses those of ``val``."""
    images: int = 48
    """Images that the blocks are ranked on."""
    verdict_images: int | None = None
    """Labelled images that decide whether ``compression.max_map_drop`` holds; ``None``: all of ``val``, and of
    ``train`` as many as ``val`` has."""


@dataclass
class SensitivityOptions:
    """Options of stage ``sensitivity``."""

    backend: str = "onnxruntime"
    options: dict[str, Any] = field(default_factory=dict)
    """The backend's."""
    labels: str = "val"
    """Where the labelled images come from, if there are any: ``train`` or ``val``."""
    images: int = 48
    nms: NmsOptions = field(default_factory=lambda: NmsOptions())
    opset: int = 13


@dataclass
class FloatBlocksOptions(SensitivityOptions):
    """Options of stage ``float_blocks``."""

    max_map_drop: float = 0.5
    min_speedup: float = 1.0
    verdict_images: int | None = None


@dataclass
class BackendOptions:
    """Common to every backend (``conf/backend``)."""

    threads: int = 1
    """CPU threads of the engine."""


@dataclass
class OnnxRuntimeOptions(BackendOptions):
    """ONNX Runtime."""

    provider: str = "cpu"
    lowering: list[str] | None = None
    """Names of the graph passes applied to the INT8 model; ``None``: the recipe of the backend."""
    tune: bool = True
    """Time both of the runtime's INT8 kernels for each convolution on this CPU, and use the faster (same numbers)."""


@dataclass
class OpenVinoOptions(BackendOptions):
    """OpenVINO on the CPU."""

    precision_hint: str = "f32"
    """What float layers are computed in: ``f32``, or ``bf16`` / ``f16`` where the CPU has it."""
    lowering: list[str] | None = None
    """Names of the graph passes applied to the INT8 model; ``None``: the recipe of the backend."""


@dataclass
class PaddleInferenceOptions(BackendOptions):
    """Paddle Inference without TensorRT."""

    device: str = "cpu"
    """``cpu`` (oneDNN) or ``cuda`` (FP32 only)."""
    passes: list[str] | None = None
    """Names of the passes of ``stages/paddle/lowering.py``; ``None``: the recipe of the precision."""


@dataclass
class PaddleTensorRtOptions(BackendOptions):
    """Paddle Inference with TensorRT subgraphs, on an NVIDIA GPU."""

    fp16: bool = False
    """Compute the FP32 engine in FP16. In INT8 engines Paddle lets TensorRT use FP16 for what is not INT8 anyway."""
    min_subgraph_size: int = 3
    """Fewest operators that are worth an engine of their own; smaller parts stay with Paddle."""
    workspace_mb: int = 1024
    """Most scratch memory of TensorRT."""
    optimization_level: int = 3
    """How long TensorRT searches: 0 to 5 (TensorRT 8.6 and later)."""
    passes: list[str] | None = None
    """Names of the passes of ``stages/paddle/lowering.py``; ``None``: the recipe of the precision."""


@dataclass
class FastDeployOptions(BackendOptions):
    """FastDeploy 1.0.x: one interface over the runtimes that its package brings."""

    runtime: str = "ort"
    """``ort``, ``openvino``, ``paddle``, ``tensorrt`` or ``paddle_tensorrt``."""
    device: str = "cpu"
    """``cpu``, or ``gpu`` (which both TensorRTs need, and OpenVINO cannot use)."""
    fp16: bool = False
    """Compute in FP16 what is not INT8 (both TensorRTs only)."""
    pinned: bool = False
    """Page-locked host buffers (FastDeploy knows them for ``tensorrt`` and ``paddle`` on a GPU; for outputs only)."""
    lowering: list[str] | None = None
    """Names of the graph passes applied to the INT8 model; ``None``: the recipe of the runtime. Not for Paddle's."""


@dataclass
class TensorRtOptions(BackendOptions):
    """TensorRT, and TensorRT for RTX."""

    fp16: bool = False
    """Compute in FP16 what is not INT8 (TensorRT 8.6 to 10, whose builder has a flag for it)."""
    tf32: bool = False
    """Let FP32 convolutions round their factors to TF32."""
    pinned: bool = True
    """Page-locked host buffers for inputs and outputs."""
    cuda_graph: bool = False
    """Launch copies and engine as one CUDA graph (needs ``pinned``)."""
    optimization_level: int = 3
    """How long the builder searches: 0 to 5."""
    workspace_mb: int | None = None
    """Most scratch memory of a layer; ``None``: what the GPU has."""
    timing_cache: str | None = None
    """Folder of timing caches, one per GPU, driver and version; ``None``: none is kept."""
    lowering: list[str] | None = None
    """Names of the graph passes applied to the INT8 model; ``None``: the recipe of the backend."""


@dataclass
class BuildOptions:
    """Building one engine (stage ``build``)."""

    backend: str = "onnxruntime"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class LatencySettings:
    """Timing: the part the user sets (``conf/latency``)."""

    warmup: int = 50
    """Untimed runs before the first timed one; more, up to twice as many, while the times have not settled."""
    warmup_seconds: float = 0.5
    """How long the warm-up lasts at least."""
    runs: int = 1000
    """Timed runs per engine; the seed's table has 1000."""
    max_seconds: float | None = None
    """Time budget per engine and mode; the runs end at ``runs`` or here, whichever is first (at least 10)."""
    rounds: int = 10
    """FP32 and INT8 are timed alternately in this many rounds, so that drift of the machine cancels; the interval of
    the speed-up comes from how the rounds differ."""
    images: int = 8
    """Images that the End2End timing cycles through."""
    max_foreign: float = 0.05
    """Largest share of its CPUs' time that others may take before a timing is called invalid."""
    max_drift: float = 0.1
    """Largest relative difference of two rounds' medians before a timing is called invalid."""


@dataclass
class LatencyOptions(LatencySettings):
    """Options of stage ``latency``; NMS is the one that scoring uses."""

    nms: NmsOptions = field(default_factory=NmsOptions)
    names: list[str] = field(default_factory=list)
    """What to call the engines, in their order, where their precisions do not tell them apart; the last one's speed-up
    against each other is told then."""


@dataclass
class AccuracyOptions:
    """Scoring (stage ``accuracy``)."""

    nms: NmsOptions = field(default_factory=NmsOptions)
    max_images: int | None = None
    """Score the first N validation images only (a quick look); ``None``: all."""
    check_detections: int = 100_000
    """Up to this many detections pycocotools scores them too, and a difference is an error; 0: never."""


@dataclass
class CompareOptions:
    """INT8 against FP32 on the same images (stage ``compare``)."""

    draws: int = 1000
    """Resamplings of the images for the interval of a difference; 0: no interval."""
    worst: int = 6
    """How many of the images that lose most are shown."""


@dataclass
class AccuracySettings(CompareOptions, AccuracyOptions):
    """Scoring and comparing: the part the user sets (``conf/accuracy``)."""


@dataclass
class AgreementOptions:
    """Whether every engine finds what the reference finds (stage ``agreement``); bounds beyond which it has failed.

    The reference is the exported graph, run node by node. FP32 engines are judged against the FP32 one, INT8 engines
    against the INT8 one, so that what the quantization cost is not held against a runtime.
    """

    score: float = 0.3
    """Boxes from this score on have to be found again; the partner's score may lie below by ``score_slack``."""
    score_slack: float = 0.1
    """See ``score``."""
    min_share_fp32: float = 0.98
    """Least share of the boxes of engine and reference that have a partner (same class, IoU of at least 0.5)."""
    min_share_int8: float = 0.9
    """The same for INT8."""
    min_iou_fp32: float = 0.98
    """Least mean IoU of the partners."""
    min_iou_int8: float = 0.9
    """The same for INT8."""
    max_score_fp32: float = 0.01
    """Largest mean absolute difference of the partners' scores."""
    max_score_int8: float = 0.05
    """The same for INT8."""


@dataclass
class DetectOptions:
    """Detections on a few unlabeled images (stage ``detect``)."""

    images: int = 8
    """How many images; 0: the engines are not compared."""
    nms: NmsOptions = field(default_factory=NmsOptions)


@dataclass
class AgreementSettings(AgreementOptions):
    """Agreement of the engines: the part the user sets (``conf/agreement``)."""

    images: int = 8
    """On how many of the unlabeled images; 0: the engines are not compared."""


@dataclass
class ChampionGateOptions:
    """What a challenger has to reach beside the champion (``gate.champion``); ``None``: not asked for."""

    max_map_drop: float | None = 2.0
    """Points of mAP below the champion, on the same images."""
    max_class_drop: float | None = None
    """The same for the worst class."""
    min_speedup: float | None = 0.9
    """Runtime of the champion / Runtime of the challenger, timed alternately."""
    min_end2end_speedup: float | None = None
    """The same for End2End."""
    max_size_ratio: float | None = None
    """Size of the challenger / size of the champion, all files of the engine."""


@dataclass
class GateOptions:
    """What a run has to reach (``conf/gate``); ``None``: not asked for. Judged on every engine of reduced precision.

    Where a number has an interval, the gate holds only if the interval's worse bound does.
    """

    max_map_drop: float | None = None
    """Points of mAP below FP32."""
    max_class_drop: float | None = None
    """The same for the worst class."""
    max_size_drop: float | None = None
    """The same for the worst of small, medium and large boxes."""
    min_speedup: float | None = None
    """Runtime of FP32 / Runtime of the engine."""
    min_end2end_speedup: float | None = None
    """The same for End2End."""
    max_latency_ms: float | None = None
    """Median of Runtime, per run (that is, per batch)."""
    max_end2end_ms: float | None = None
    """Median of End2End, per run."""
    max_engine_mb: float | None = None
    """All files of the engine, in 10^6 bytes."""
    min_int8_share: float | None = None
    """Share of multiply-adds that really run in INT8, 0 to 1."""
    require_valid: bool = False
    """Gates on speed fail where the timing's verdict is not ``valid``."""
    champion: ChampionGateOptions = field(default_factory=ChampionGateOptions)
    """What a promotion asks for beside this, if there is a champion."""


@dataclass
class DriftOptions:
    """What images are like under an engine (stage ``drift``)."""

    images: int = 200
    """How many are looked at."""
    nms: NmsOptions = field(default_factory=NmsOptions)


@dataclass
class JudgeOptions:
    """Whether a challenger may be promoted (stage ``judge``)."""

    gate: GateOptions = field(default_factory=GateOptions)
    names: list[str] = field(default_factory=list)
    """What the engines are, in their order, the challenger last: ``[fp32, champion, challenger]``; without a champion
    their precisions."""
    run_id: str = ""
    """The challenger's run."""
    champion: dict[str, Any] = field(default_factory=dict)
    """``version`` and ``run_id`` of the champion; empty: there is none."""
    hardware: str = ""
    images_digest: str = ""
    """The validation images that the engines were scored on."""


@dataclass
class ReportOptions:
    """The run's tables (stage ``report``)."""

    run_id: str = ""
    model: str = ""
    data: str = ""
    command: str = ""
    hardware: str = ""
    method: str = ""
    failures: list[dict[str, Any]] = field(default_factory=list)
    """``{"stage", "backend", "precision", "error"}`` of what failed or is unavailable; shown as rows with a status."""
    gate: GateOptions = field(default_factory=GateOptions)
    require_all_backends: bool = False
    """What a gate asks for and a backend cannot measure on this machine fails; else that gate is left out."""
    config: dict[str, Any] = field(default_factory=dict)
    """The run's whole config, shown in the HTML report."""
    versions: dict[str, str] = field(default_factory=dict)
    """Distributions and their versions, likewise."""
    commit: str | None = None
    """The commit of the code, if it is known."""


@dataclass
class BundleOptions:
    """A deployable bundle (stage ``bundle``, made by ``detpress bundle``)."""

    run_id: str = ""
    model: str = ""
    golden: int = 8
    """Images that go along with what the engine finds in them."""
    nms: NmsOptions = field(default_factory=NmsOptions)
    promised: dict[str, Any] = field(default_factory=dict)
    """What the run measured: ``map``, ``map50`` in points, ``median_ms``, ``end2end_ms``."""
    hardware: str = ""
    """What it was measured on."""
    versions: dict[str, str] = field(default_factory=dict)
    """Every package of the run."""
    requirements: list[str] = field(default_factory=list)
    """The packages among them that the engine needs."""
    config: dict[str, Any] = field(default_factory=dict)
    """The run's whole config."""
