"""Stages ``collect_labeled`` and ``collect_unlabeled``: what the user brought, checked before anything is computed.

Every image that a run uses is read once here: it decodes, its content hash is known, and no image that the engines
are scored on is among those they are trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from typing import Any, ClassVar

import numpy as np

from stages.artifacts import ConvertedSet, DrawnSet, ImageList, LabeledSet, digest_of, hash_files
from stages.contract import StageContext
from stages.data.damage import damaged_images
from stages.data.looking import look_at, threads
from stages.data.named_images import fill_missing_sizes, missing_files, with_native_separators
from stages.detection.coco import read_coco, some
from stages.detection.images import decode_image, list_images, read_bytes
from stages.errors import DataError
from stages.options.data import CollectOptions
from stages.outside import names

CHUNK = 256  # images checked between two progress reports


@dataclass(frozen=True)
class Checked:
    """What reading an image gave: its hash and size in pixels, or in ``error`` why it cannot be read."""

    path: Path
    sha256: str = ""
    width: int = 0
    height: int = 0
    error: str = ""


def check_image(path: Path) -> Checked:
    """Read, hash and decode one image."""
    try:
        data = read_bytes(path)
        height, width = decode_image(data, path).shape[:2]
    except DataError as error:
        return Checked(path, error=str(error))
    return Checked(path, sha256(data).hexdigest(), width, height)


def listing_digest(*paths: Path) -> str:
    """Digest of names, sizes and modification times of the images under folders, and of single files.

    Cheap enough to be taken at every start; it is part of the keys, so that a changed folder is looked at again. It has
    to be given what is opened: a folder where all its images are (`list_images`), else the files that labels name.
    """
    entries: list[tuple[str, str, int, int]] = []
    for path in paths:
        for file in list_images(path) if path.is_dir() else [path]:
            with suppress(OSError):  # one that is not there; whoever opens it will tell
                found = file.stat()
                if S_ISREG(found.st_mode):
                    entries.append((str(path), str(file), found.st_size, found.st_mtime_ns))
    return digest_of(entries)


class CollectLabeled:
    """Labels and their images -> ``LabeledSet``; every image has to be there and readable.

    Beside ``annotations.json`` the artifact holds ``images.json``: ``[{"file_name", "sha256", "width", "height"}]``.
    """

    name: ClassVar[str] = "collect_labeled"
    version: ClassVar[int] = 2
    packages: ClassVar[tuple[str, ...]] = ("opencv-python-headless",)
    Options: ClassVar[type] = CollectOptions
    Output: ClassVar[type[LabeledSet]] = LabeledSet

    @dataclass(frozen=True)
    class Inputs:
        """``drawn``: paths are relative to it. ``validation``: images that must not occur (for a training set).

        ``converted``: the label file is relative to it.
        """

        drawn: DrawnSet | None = None
        converted: ConvertedSet | None = None
        validation: LabeledSet | None = None

    def __init__(self, options: CollectOptions) -> None:
        self.options = options

    def run(self, inputs: Inputs, context: StageContext) -> LabeledSet:
        """Check labels and images."""
        o = self.options
        if not o.annotations or not o.images:
            raise DataError("a labelled set needs an annotation file and an image folder; set data.root, or "
                            "data.val_annotations and data.val_images (data.train_... for training)")  # fmt: skip
        root = _resolve(o.images, inputs.drawn)
        coco = read_coco(_resolve(o.annotations, inputs.drawn or inputs.converted))
        if o.sample is not None and o.sample < len(coco.images):
            order = np.random.default_rng(context.seed).permutation(len(coco.images))[: o.sample]
            coco = coco.subset([coco.images[i] for i in sorted(order)])
        for warning in coco.warnings:
            context.warn(warning)
        _need_folder(root)
        if renamed := with_native_separators(coco.images, root):
            context.warn(f"{len(renamed)} file names have Windows separators, taken as folders: {some(renamed)}")
        names.accept_outsiders(coco.images, root, o.annotations, o.allow_outside_images)
        if missing := missing_files(coco.images, root):
            windows = "\\" in "".join(missing)
            hint = "their names have Windows separators (\\), and with / they are not there either; " if windows else ""
            raise DataError(f"{len(missing)} of {len(coco.images)} labelled images are not in {root}: {some(missing)}; "
                            f"{hint}check the image folder that goes with these labels")  # fmt: skip
        if all(annotation["iscrowd"] for annotation in coco.annotations):
            crowds = f" but {len(coco.annotations)} crowds" if coco.annotations else ""
            raise DataError(f"labels {o.annotations} hold no box{crowds}; nothing can be learnt from or scored on them")
        checked = [c for chunk in _check(_paths(coco.images, root), context) for c in chunk]
        if broken := [c for c in checked if c.error]:
            raise DataError(f"{len(broken)} labelled images cannot be read: {some(c.error for c in broken)}")
        _stop_on_overlap(checked, inputs.validation, o.allow_overlap, context)
        fill_missing_sizes(coco.images, [(c.width, c.height) for c in checked], context)
        listed = [
            {"file_name": image["file_name"], "sha256": c.sha256, "width": c.width, "height": c.height, **_place(image)}
            for image, c in zip(coco.images, checked, strict=True)
        ]
        (context.out / "annotations.json").write_text(json.dumps(coco.as_dict()), encoding="utf-8")
        (context.out / "images.json").write_text(json.dumps(listed), encoding="utf-8")
        without = len(coco.images) - len({a["image_id"] for a in coco.annotations})
        context.metric("images", len(coco.images))
        context.metric("boxes", len(coco.annotations))
        context.metric("images_without_boxes", without)
        return LabeledSet(
            root=context.out,
            files=hash_files(context.out),
            images_root=str(root),
            images=len(coco.images),
            boxes=len(coco.annotations),
            images_digest=digest_of([[i["file_name"], i["sha256"]] for i in listed]),
            labels=coco.labels,
        )


class CollectUnlabeled:
    """A folder of images -> ``ImageList``: a seeded sample of those that can be read."""

    name: ClassVar[str] = "collect_unlabeled"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("opencv-python-headless", "numpy")
    Options: ClassVar[type] = CollectOptions
    Output: ClassVar[type[ImageList]] = ImageList

    @dataclass(frozen=True)
    class Inputs:
        """``drawn``: the folder is relative to it. ``validation``: images that must not occur.

        ``converted``: the images are those that its label file ``options.annotations`` lists.
        """

        drawn: DrawnSet | None = None
        converted: ConvertedSet | None = None
        validation: LabeledSet | None = None

    def __init__(self, options: CollectOptions) -> None:
        self.options = options

    def run(self, inputs: Inputs, context: StageContext) -> ImageList:
        """Sample, and check what was sampled; an unreadable image is replaced by the next one of the shuffled list."""
        o = self.options
        if not o.images:
            raise DataError("no folder of unlabeled images was given; set data.unlabeled_images")
        if o.sample is not None and o.sample < 1:
            raise DataError(f"{o.sample} unlabeled images were asked for; set compression.images to 1 or more")
        folder = _resolve(o.images, inputs.drawn)
        _need_folder(folder)
        outside: set[Path] = set()  # that the labels say so of
        if inputs.converted:
            found, outside = _listed(inputs.converted, o, folder)
        else:
            found = list_images(folder)
        if not found:
            raise DataError(f"{folder} holds no images (jpg, png, bmp, webp, tif); set data.unlabeled_images to a "
                            "folder that does")  # fmt: skip
        wanted = len(found) if o.sample is None else min(o.sample, len(found))
        order = np.random.default_rng(context.seed).permutation(len(found))
        chosen: list[Checked] = []
        broken: list[Checked] = []
        position = 0
        while len(chosen) < wanted and position < len(found):
            part = [found[i] for i in order[position : position + wanted - len(chosen)]]
            position += len(part)
            for chunk in _check(part, context, done=len(chosen), total=wanted):
                chosen += [c for c in chunk if not c.error]
                broken += [c for c in chunk if c.error]
                if len(broken) > o.max_unreadable * len(found):  # whatever the rest is like
                    _stop_on_broken(broken, len(chosen) + len(broken), o.max_unreadable)
        if len(broken) > o.max_unreadable * (len(chosen) + len(broken)):
            _stop_on_broken(broken, len(chosen) + len(broken), o.max_unreadable)
        if not chosen:
            raise DataError(f"none of the {len(found)} images in {folder} can be read: {some(c.error for c in broken)}")
        for image in broken:
            context.warn(f"left out: {image.error}")
        if o.sample is not None and len(chosen) < o.sample:
            context.warn(f"{folder} has {len(chosen)} usable images, fewer than the {o.sample} asked for; all are used")
        _stop_on_overlap(chosen, inputs.validation, o.allow_overlap, context)
        listed: list[dict[str, Any]] = [
            {"path": str(c.path), "sha256": c.sha256, "width": c.width, "height": c.height} for c in chosen
        ]
        leads_out = names.outsiders(folder, [entry["path"] for entry in listed])  # by a link
        for entry, c, leads in zip(listed, chosen, leads_out, strict=True):
            if leads or c.path in outside:
                entry[names.OUTSIDE] = True
        (context.out / "images.json").write_text(json.dumps(listed, indent=1), encoding="utf-8")
        context.metric("images", len(chosen))
        context.metric("unreadable", len(broken))
        return ImageList(root=context.out, files=hash_files(context.out), count=len(chosen), skipped=len(broken))


def _resolve(path: str, inside: DrawnSet | ConvertedSet | None) -> Path:
    """Absolute; relative to the drawn or converted set where there is one."""
    return (inside.root / path if inside else Path(path).expanduser()).resolve()


def _listed(converted: ConvertedSet, o: CollectOptions, folder: Path) -> tuple[list[Path], set[Path]]:
    """The images of a converted label file, in the order of their paths, and those of them that lie elsewhere."""
    name = o.annotations or "train.json"
    images = json.loads(converted.path(name).read_text(encoding="utf-8"))["images"]
    names.accept_outsiders(images, folder, name, o.allow_outside_images)
    paths = {names.image_path(folder, image): names.may_be_copied(image) for image in images}
    return sorted(paths, key=Path.as_posix), {path for path, inside in paths.items() if not inside}


def _place(image: Mapping[str, Any]) -> dict[str, bool]:
    """What is noted of an image that does not lie in the folder of its data set."""
    return {} if names.may_be_copied(image) else {names.OUTSIDE: True}


def _need_folder(folder: Path) -> None:
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"image folder {folder} {what}; check data.root and the paths under `data`")


def _paths(images: Sequence[dict[str, Any]], root: Path) -> list[Path]:
    return [names.image_path(root, image) for image in images]


def _check(paths: Sequence[Path], context: StageContext, done: int = 0, total: int = 0) -> Iterator[list[Checked]]:
    """Check images on ``context.threads`` threads (decoding releases the interpreter lock), a chunk at a time."""
    with threads(context.threads) as pool:
        for start in range(0, len(paths), CHUNK):
            part, chunk = paths[start : start + CHUNK], list[Checked]()
            if damaged := damaged_images(part, partial(_check_into, chunk, part, pool)):
                context.warn(
                    f"{len(damaged)} images are damaged inside, and the decoder filled in what is missing: "
                    f"{some(damaged)}; replace them"
                )
            context.progress(done + start + len(chunk), total or len(paths))
            yield chunk


def _check_into(chunk: list[Checked], paths: Sequence[Path], pool: Executor) -> None:
    chunk.extend(look_at(check_image, paths, pool))


def _stop_on_broken(broken: Sequence[Checked], looked_at: int, limit: float) -> None:
    raise DataError(
        f"{len(broken)} of {looked_at} unlabeled images cannot be read, more than the {limit:.0%} of "
        f"data.max_unreadable: {some(c.error for c in broken)}; repair or remove them, or raise data.max_unreadable"
    )


def _stop_on_overlap(
    images: Sequence[Checked], validation: LabeledSet | None, allowed: bool, context: StageContext
) -> None:
    """Compare content hashes with the validation set's: scoring on images that were trained on means nothing."""
    if validation is None:
        return
    listed = json.loads(validation.path("images.json").read_text(encoding="utf-8"))
    scored = {entry["sha256"]: entry["file_name"] for entry in listed}
    twins = [f"{c.path} = {scored[c.sha256]}" for c in images if c.sha256 in scored]
    if not twins:
        return
    text = f"{len(twins)} of {len(images)} images also occur in the validation set: {some(twins)}"
    if not allowed:
        raise DataError(
            text + "; remove them from one of the two, or accept a flattering mAP with data.allow_overlap=true"
        )
    context.warn(text + "; the measured mAP is flattering (data.allow_overlap=true)")
