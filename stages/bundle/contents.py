"""What lies in a deployable bundle, and how one is opened: every file against its digest before anything is used.

::

    bundle.json            what it is: run, model, backend, precision, engine, thresholds, what was measured, versions
    SHA256SUMS             digest of every other file (`sha256sum -c SHA256SUMS` checks it too)
    engine/                what the backend loads, and infer_cfg.yml (preprocessing, labels, layout)
    model.onnx             the exported model, where the engine is no ONNX file itself
    paddle/                model.pdmodel, model.pdiparams, model.onnx, infer_cfg.yml: as PaddleDetection's scripts take
                           them, with NMS inside
    triton/, ovms/, ...    with ``layout=``: the engine as a model server wants it (``stages/bundle/layouts.py``)
    golden/                a few images, expected.json (what the engine found in them), annotations.json (if labelled)
    README.md              the model card (``stages/bundle/card.py``)
    bom.cdx.json           the bill of materials (``stages/bundle/bom.py``)
    labels.txt requirements.txt NOTICE.md
"""

from __future__ import annotations

import errno
import lzma
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from stages import backends
from stages.artifacts import Artifact, Engine, hash_files, sha256_of
from stages.codec import artifact_from_json, dataclass_from_json
from stages.detection.coco import check_coco, load_coco
from stages.detection.sidecar import FILE_NAME
from stages.errors import DataError, InputError, StoreError
from stages.numerics.variants import VARIANTS
from stages.options.accuracy import NmsOptions
from stages.options.check import check_options
from stages.outside import files, records
from stages.outside.names import inside, relative, shown
from stages.report.schema_thresholds import MovedThresholds

if TYPE_CHECKING:
    from typing_extensions import NotRequired

SCHEMA_VERSION = 1
RECORD, SUMS = "bundle.json", "SHA256SUMS"
ENGINE, GOLDEN, PADDLE = "engine", "golden", "paddle"
_LARGEST, _MOST_FILES = 64 << 30, 10_000
"""Bytes and files that a bundle may unpack to: beyond it, a zip is no detector but a bomb."""
_UNSUSPICIOUS, _TIGHTEST = 1 << 30, 100
"""Beyond so many bytes, a zip may not have shrunk them by more than this."""
_MOST_VALUES = 1 << 28  # of an engine's input
_NO_ZIP = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, ValueError),
    *(zlib.error, lzma.LZMAError),  # of the decompressors, before the sum of a file is compared
    RuntimeError,  # it asks for a password
)


class Promised(TypedDict, total=False):
    """What the run measured; ``speedup`` and the verdicts are absent from bundles of before they were kept."""

    map: float | None
    map50: float | None
    golden_map: float | None
    median_ms: float | None
    end2end_ms: float | None
    speedup: float | None
    timing: str | None
    end2end_timing: str | None
    speedup_timing: str | None


class BundleRecord(TypedDict):
    """What is read of ``bundle.json``."""

    schema_version: int
    run_id: str
    model: str
    backend: str
    precision: str
    engine: dict[str, Any]
    nms: dict[str, Any]
    draw_threshold: float
    thresholds: NotRequired[MovedThresholds]
    """See `stages/bundle/thresholds.py`; absent from bundles of runs that named no threshold."""
    promised: Promised
    hardware: str
    versions: dict[str, str]


Found = TypedDict("Found", {"class": int, "label": str, "score": float, "box": list[float]})
"""A detection in ``expected.json``; ``box``: x1, y1, x2, y2 in pixels."""


class Golden(TypedDict):
    """A golden image, and what the engine found in it where the bundle was made."""

    file: str
    detections: list[Found]


@dataclass(frozen=True)
class Opened:
    """A bundle whose files are what they were when it was made."""

    name: Path
    """What messages call it."""
    root: Path
    record: BundleRecord
    engine: Engine
    nms: NmsOptions

    def golden(self) -> list[Golden]:
        """``expected.json``.

        Raises:
            InputError: it is damaged, or names a file that is not under ``golden/``.
        """
        path, said = self.root / GOLDEN / "expected.json", f"{GOLDEN}/expected.json"
        content: list[Golden] = _read(path, said, list[Golden])
        if not content:
            raise InputError(f"{said} has no image; make the bundle again")
        for golden in content:
            if not inside(path.parent, golden["file"], said, "file", InputError).is_file():
                raise InputError(f"{said}: file {shown(golden['file'])} is not in the bundle: refused")
            if any(len(found["box"]) != 4 for found in golden["detections"]):
                raise InputError(f"{said} cannot be read: a box of {golden['file']} has not four numbers")
        return content

    def image(self, golden: Golden) -> Path:
        """Where a golden image lies."""
        return inside(self.root / GOLDEN, golden["file"], f"{GOLDEN}/expected.json", "file", InputError)

    def annotations(self) -> dict[str, Any] | None:
        """The COCO labels of the golden images, if they are labelled.

        Raises:
            InputError: they are damaged, or of other images.
        """
        path = self.root / GOLDEN / "annotations.json"
        if not path.is_file():
            return None
        try:
            content = check_coco(load_coco(path), path).as_dict()
        except DataError as error:
            raise InputError(f"{self.name}: {error.message.replace(f'{self.root}/', '')}") from error
        if {image["file_name"] for image in content["images"]} != {golden["file"] for golden in self.golden()}:
            raise InputError(f"{self.name}: {GOLDEN}/{path.name} labels other images than expected.json: refused")
        return content


def write_sums(root: Path) -> None:
    """Write ``SHA256SUMS`` over every file under ``root``."""
    files = {name: digest for name, digest in hash_files(root).items() if name != SUMS}
    (root / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(files.items())))


def unpack(bundle: Path, folder: Path, *, digest: str | None = None) -> Opened:
    """Unpack a bundle into the empty ``folder`` and check it.

    Args:
        digest: sha256 that the zip file has to have, if it is known from elsewhere.

    Raises:
        InputError: it is no bundle, or a file is not what it was when the bundle was made.
    """
    if not bundle.is_file():
        raise InputError(f"there is no bundle {bundle}; `detpress bundle RUN` makes one")
    if digest is not None and sha256_of(bundle) != digest.lower():
        raise InputError(f"{bundle} does not have the sha256 {digest}: refused; fetch it again from where it was made")
    try:
        with zipfile.ZipFile(bundle) as archive:
            entries = archive.infolist()
            _check_names(bundle, [entry.filename for entry in entries])
            _check_size(bundle, entries)
            archive.extractall(folder)
    except _NO_ZIP as error:
        raise InputError(f"{bundle} is no whole zip file ({error}); copy it again") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # A place before the beginning of the file is named as that of an entry.
        raise InputError(f"{bundle} is no whole zip file ({error.strerror}); copy it again") from error
    return open_bundle(folder, bundle)


def open_bundle(root: Path, name: Path) -> Opened:
    """Check an unpacked bundle; ``name`` is what messages call it. Raises InputError, see `unpack`."""
    sums = root / SUMS
    if not (root / RECORD).is_file() or not sums.is_file():
        raise InputError(f"{name} is no bundle: it has no {RECORD} and {SUMS}")
    promised: dict[str, str] = {}
    for line in _text(sums, name).splitlines():
        digest, _, file = line.partition("  ")
        promised[file] = digest
    have = {file: digest for file, digest in hash_files(root).items() if file != SUMS}
    wrong = sorted(file for file in {*promised, *have} if promised.get(file) != have.get(file))
    if wrong:
        raise InputError(
            f"{name} was changed after it was made: {', '.join(wrong[:4])}{' ...' if len(wrong) > 4 else ''}: refused; "
            "fetch it again from where it was made"
        )
    said = f"{name}: {RECORD}"
    plain = _read(root / RECORD, said, dict[str, Any])
    if plain.get("schema_version") != SCHEMA_VERSION:
        versions = plain.get("versions")
        made = versions.get("detpress", "?") if isinstance(versions, dict) else "?"
        raise InputError(
            f"{name} has schema {shown(plain.get('schema_version'))}, this version reads {SCHEMA_VERSION}; use the "
            f"version that made it (detpress {made})"
        )
    record: BundleRecord = _read(root / RECORD, said, BundleRecord)
    try:
        engine = artifact_from_json({**record["engine"], "root": str(root / ENGINE)})
        nms: NmsOptions = dataclass_from_json(NmsOptions, record["nms"])
    except StoreError as error:
        raise InputError(f"{said}: {error}: refused; fetch it again from where it was made") from error
    _check_engine(engine, promised, said)
    assert isinstance(engine, Engine)
    if problems := check_options(nms, "nms"):
        raise InputError(f"{said}: {problems[0]}: refused; fetch it again from where it was made")
    opened = Opened(name, root, record, engine, nms)
    opened.golden()
    return opened


def _check_engine(engine: Artifact, sums: Mapping[str, str], said: str) -> None:
    """InputError unless ``bundle.json`` describes an engine of files under ``engine/``, as SHA256SUMS has them."""
    if not isinstance(engine, Engine):
        raise InputError(f"{said}: engine is no engine but {type(engine).__name__}: refused")
    if engine.precision not in VARIANTS:
        raise InputError(f"{said}: engine.precision {shown(engine.precision)} is no variant: refused")
    if len(engine.input_size) != 2 or not 0 < engine.batch * math.prod(engine.input_size) * 3 <= _MOST_VALUES:
        size = shown([engine.batch, *engine.input_size])
        raise InputError(f"{said}: engine.batch and engine.input_size {size} are those of no network: refused")
    if engine.backend not in backends.names():
        raise InputError(f"{said}: engine.backend {shown(engine.backend)} is no backend that this machine has "
                         f"({', '.join(backends.names())}): refused")  # fmt: skip
    if FILE_NAME not in engine.files:
        raise InputError(f"{said}: engine.files has no {FILE_NAME}, which says how images go into it: refused")
    for field, file in (("main", engine.main), *(("files", file) for file in engine.files)):
        relative(file, said, f"engine.{field}", InputError)
        if file not in engine.files or sums.get(f"{ENGINE}/{file}") != engine.files[file]:
            raise InputError(f"{said}: engine.{field} {shown(file)} is not a file under {ENGINE}/: refused")


def _read(path: Path, said: str, shape: Any) -> Any:
    """A JSON file of the bundle, which messages call ``said``."""
    try:
        return records.parse(files.read_bytes(path), said, shape, finite=True)
    except OSError as error:
        raise InputError(f"{said} cannot be read: {error.strerror}; fetch it again from where it was made") from error


def _text(path: Path, name: Path) -> str:
    try:
        return files.read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{name}: {path.name} cannot be read ({error}); fetch it again from where it was made"
        ) from error


def _check_size(bundle: Path, entries: list[zipfile.ZipInfo]) -> None:
    size = sum(entry.file_size for entry in entries)
    if size > _LARGEST or len(entries) > _MOST_FILES:
        raise InputError(f"{bundle} would unpack to more than {_LARGEST >> 30} GiB or {_MOST_FILES} files: refused")
    if size > max(_UNSUSPICIOUS, _TIGHTEST * bundle.stat().st_size):
        raise InputError(f"{bundle} would unpack to {size >> 20} MiB, which is no model but a zip bomb: refused")


def _check_names(bundle: Path, names: list[str]) -> None:
    for name in names:
        path = Path(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise InputError(f"{bundle} has a file {name!r}, which would land outside of its folder: refused")
    plain = [Path(name) for name in names if not name.endswith("/")]
    if len(set(plain)) < len(plain):
        raise InputError(f"{bundle} has two files of one name: refused")
    folders = {Path(name) for name in names if name.endswith("/")} | {p for name in names for p in Path(name).parents}
    if clash := sorted(path.as_posix() for path in folders & set(plain)):
        raise InputError(f"{bundle} has {shown(clash[0])} as a file and as a folder: refused")
