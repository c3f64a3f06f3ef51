"""The artifacts that pass between stages: folders of files with a meaning, known by their digests."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from stages.errors import StoreError
from stages.numerics.variants import Precision as Precision
from stages.numerics.variants import Variant, variant
from stages.options.export import NMS_OUTPUTS, Inside
from stages.outside.files import open_regular


def sha256_of(path: Path) -> str:
    """The hex sha256 of a file's bytes. Raises OSError, also of a pipe or a device, which may never end."""
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of(value: object) -> str:
    """The hex sha256 of a JSON-able value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A folder of files with a meaning; subclasses add the fields that say which.

    Attributes:
        root: folder the files are under.
        files: relative file name -> hex sha256 of its bytes.
        key: key of the store entry that made it; empty for what the user brought.
    """

    SCHEMA: ClassVar[int] = 1
    LATER: ClassVar[tuple[str, ...]] = ()
    """Fields that came later: while they are ``None`` they count for nothing, so that older results are still found."""

    root: Path
    files: dict[str, str] = field(default_factory=dict)
    key: str = ""

    def path(self, name: str) -> Path:
        """The absolute path of one of the artifact's files."""
        if name not in self.files:
            raise StoreError(f"{type(self).__name__} has no file {name!r}; it has {sorted(self.files)}")
        return self.root / name

    @property
    def digest(self) -> str:
        """Digest of the files and the fields, wherever the folder lies and whoever made it."""
        own = {k: v for k, v in dataclasses.asdict(self).items() if k not in ("root", "key")}
        own = {k: v for k, v in own.items() if v is not None or k not in self.LATER}
        return digest_of([type(self).__name__, self.SCHEMA, own])

    @property
    def size_bytes(self) -> int:
        """Sum of the sizes of the files, in bytes."""
        return sum((self.root / name).stat().st_size for name in self.files)


def hash_files(root: Path, names: list[str] | None = None) -> dict[str, str]:
    """``files`` for an artifact: the digests of ``names`` under ``root`` (of every file there by default)."""
    if names is None:
        names = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    return {name: sha256_of(root / name) for name in names}


@dataclass(frozen=True, kw_only=True)
class DrawnSet(Artifact):
    """The demo's drawn images: ``train.json``, ``train/``, ``val.json``, ``val/``, ``unlabeled/``."""


@dataclass(frozen=True, kw_only=True)
class ConvertedSet(Artifact):
    """Labels of the user's as COCO: ``train.json``, ``val.json``, as far as there are splits; the images stay put."""


@dataclass(frozen=True, kw_only=True)
class ImageList(Artifact):
    """Unlabeled images. File ``images.json``: ``[{"path": absolute, "sha256", "width", "height"}, ...]``."""

    count: int
    skipped: int = 0  # unreadable images that were left out


@dataclass(frozen=True, kw_only=True)
class LabeledSet(Artifact):
    """A COCO-format set. File ``annotations.json``: COCO, with ``file_name`` relative to ``images_root``.

    Category ids stay the user's own (they need not be contiguous), in the order of the user's file: a model that
    PaddleDetection trains on it numbers its classes so. Classes of any model are matched by name
    (``stages/detection/classes.py``).
    """

    images_root: str
    images: int
    boxes: int
    images_digest: str  # digest over the bytes of all images, so that a changed picture changes the artifact
    labels: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Artifact):
    """PaddleDetection weights: one ``.pdparams`` file, named by ``weights``."""

    weights: str = "model.pdparams"


@dataclass(frozen=True, kw_only=True)
class InferenceModel(Artifact):
    """Paddle's frozen form as the user brought it: the names of its files (see ``stages/programs/files.py``)."""

    program: str = "model.pdmodel"
    params: str = "model.pdiparams"
    settings: str = ""  # what lies beside it and says how images are prepared; "" where nothing does


@dataclass(frozen=True, kw_only=True)
class QuantizedModel(Artifact):
    """An INT8 Paddle inference model with quantize/dequantize operators (``model.pdmodel``, ``model.pdiparams``).

    File ``history.json`` holds the curve: ``[{"step", "loss", "lr"}, ...]``, empty for post-training quantization;
    ``scores.json``, if it was scored: ``{"best": step, "scores": [{"step", "eval_loss" or "eval_map"}, ...]}``;
    ``search.json``, if it was looked for (``stages/search/content.py``); ``equalized.json``, if channels were scaled
    (``stages/paddle/compression/equalization.py``): the factors, which the exported model gets too.
    """

    method: str
    steps: int
    images: int


LAYERS_FILE, FLOAT_BLOCKS_FILE, MAGNITUDES_FILE = "layers.json", "float_blocks.json", "magnitudes.json"
SEARCH_FILE, LIGHT_FILE, EQUALIZED_FILE = "search.json", "light.json", "equalized.json"


@dataclass(frozen=True, kw_only=True)
class ExportedModel(Artifact):
    """One precision of a model in the forms engines are built from, without NMS inside.

    Files: ``model.pdmodel``, ``model.pdiparams``, ``model.onnx`` (opset 13, batch ``batch``, Q/DQ form for INT8),
    ``infer_cfg.yml`` (preprocessing, labels, input size, output layout); of FP32 also ``layers.json`` (name of a
    convolution's weights -> what PaddleDetection calls the layer, empty where that is not known), and of INT8 with
    blocks left in float ``float_blocks.json`` (see ``stages/mixed_precision/float_blocks.py``).
    ``magnitudes.json``: tensors whose numbers are large on real images (``stages/lowering/magnitudes.py``). Of a
    lighter model also ``light.json``, ``history.json`` and ``scores.json`` (``stages/lightening/lighten.py``).

    Inputs of the graph: ``image`` float32 [batch, 3, H, W] and, if ``scale_factor`` is true, ``scale_factor`` float32
    [batch, 2] as (scale_y, scale_x). Outputs, in this order: boxes float32 [batch, N, 4] as (x1, y1, x2, y2), in pixels
    of the *original* image if ``scale_factor`` is true, else of the network input; scores float32 [batch, classes, N].
    """

    precision: Precision
    input_size: list[int]  # height, width
    batch: int = 1
    scale_factor: bool = True
    image_input: str = "image"
    scale_input: str = "scale_factor"
    boxes_output: str = ""
    scores_output: str = ""
    agreement: dict[str, float] = field(default_factory=dict)  # ONNX against Paddle on real images


@dataclass(frozen=True, kw_only=True)
class Sensitivity(Artifact):
    """What each block loses: ``sensitivity.json`` (``mixed_precision/sensitivity.py``), ``.md`` and a figure."""

    backend: str


@dataclass(frozen=True, kw_only=True)
class Engine(Artifact):
    """What one backend runs, in one variant. The main file is named by ``main``; ``infer_cfg.yml`` lies beside it.

    ``precision`` is the variant's name. The input and output names and layout are those of the ``ExportedModel`` it was
    built from, unless ``inside`` says that the engine does more: see ``stages/lowering/inside.py``.
    """

    LATER: ClassVar[tuple[str, ...]] = ("inside",)

    backend: str
    precision: str
    main: str
    input_size: list[int]
    batch: int
    scale_factor: bool
    image_input: str
    scale_input: str
    boxes_output: str
    scores_output: str
    options: dict[str, Any] = field(default_factory=dict)  # the backend's options it was built with
    notes: dict[str, Any] = field(default_factory=dict)  # e.g. the lowering's pass report
    build_seconds: float = 0.0
    inside: Inside | None = None

    @property
    def variant(self) -> Variant:
        """How it was built and is opened."""
        return variant(self.precision)

    @property
    def nms_inside(self) -> bool:
        """Whether NMS runs in it."""
        return self.inside is not None and self.inside.nms is not None

    @property
    def outputs(self) -> list[str]:
        """The names of what it gives, in the order in which a session does."""
        return list(NMS_OUTPUTS) if self.nms_inside else [self.boxes_output, self.scores_output]

    @property
    def takes_pixels(self) -> bool:
        """Whether its image input is uint8 [batch, H, W, 3], RGB."""
        return self.inside is not None and self.inside.preprocess


@dataclass(frozen=True, kw_only=True)
class LatencyResult(Artifact):
    """File ``latency.json`` (see ``stages/latency/latency.py``) and ``samples.npz`` with the raw seconds of each run.

    One result covers all engines of a backend, because they are timed alternately.

    Attributes:
        disturbed: a sentence for each timing and ratio whose verdict is not ``valid``.
        rounds: mode -> how many rounds were timed.
        intervals: [low, high] of each ratio that is valid: ``over_fp32.int8.runtime``, ``against.champion.runtime``.
    """

    backend: str
    disturbed: list[str] = field(default_factory=list)
    rounds: dict[str, int] = field(default_factory=dict)
    intervals: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ProfileResult(Artifact):
    """File ``profile.json`` (see ``stages/profiling/profile.py``): where the time of a backend's engines goes.

    Attributes:
        disturbed: a sentence for each profile whose verdict is not ``valid``.
    """

    backend: str
    disturbed: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ThroughputResult(Artifact):
    """File ``throughput.json`` (see ``stages/throughput/throughput.py``) and ``samples.npz``, of a backend's engines.

    Attributes:
        disturbed: as of `LatencyResult`.
    """

    backend: str
    disturbed: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class AccuracyResult(Artifact):
    """Files ``accuracy.json`` (see ``stages/accuracy/accuracy.py``), ``detections.json`` (COCO results form) and
    ``matches.npz`` (``stages.detection.matching.Matches``). ``precision`` is the engine's variant."""

    backend: str
    precision: str


@dataclass(frozen=True, kw_only=True)
class Detected(Artifact):
    """What the engines of one backend find on the same few images, or the reference finds (``backend`` is then empty):
    ``detected.json`` and per variant a ``PRECISION.npz`` (see ``stages/agreement/detect.py``)."""

    backend: str
    precisions: list[str]


@dataclass(frozen=True, kw_only=True)
class Agreement(Artifact):
    """How far the engines find the same as the reference: ``agreement.json`` (``stages/agreement/agreement.py``)."""


@dataclass(frozen=True, kw_only=True)
class Comparison(Artifact):
    """One variant against another on the same backend and images: file ``compare.json`` (see
    ``stages/accuracy/compare.py``), ``draws.npz`` and ``worst-*.jpg``."""

    backend: str
    base: str
    other: str


@dataclass(frozen=True, kw_only=True)
class Thresholds(Artifact):
    """Score thresholds moved from FP32 to the other engines of a backend: ``thresholds.json`` (see
    ``stages/thresholds/thresholds.py``)."""

    backend: str


@dataclass(frozen=True, kw_only=True)
class Bundle(Artifact):
    """One engine with all that it needs elsewhere (``stages/bundle/contents.py`` draws the folder)."""

    backend: str
    precision: str


@dataclass(frozen=True, kw_only=True)
class ImageSummary(Artifact):
    """What images are like, ``images.npz``, and beside earlier ones ``drift.json`` (``stages/champion/drift.py``)."""

    count: int
    drifted: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Judgement(Artifact):
    """Whether a challenger may be promoted: ``promotion.json`` (``stages/champion/judge.py``), ``promotion.md``."""

    passed: bool


@dataclass(frozen=True, kw_only=True)
class Report(Artifact):
    """Files ``report.json`` (schema version inside), ``report.md``, ``report.html`` and ``report-*.png``."""
