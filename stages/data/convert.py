"""Stage ``convert``: labels in another layout than ours, or one labelled set that is to be divided, as COCO JSON.

Images stay where they are: file names are relative to the folder that the graph gives ``collect_labeled``.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from stages.artifacts import ConvertedSet, hash_files
from stages.contract import StageContext
from stages.data.formats.detect import describe, open_source
from stages.data.formats.source import TRAIN, VAL, Source, mark_outsiders, refuse_outsiders
from stages.data.hold_out import Look, held_out, look_of
from stages.data.looking import look_at, threads
from stages.data.named_images import with_native_separators
from stages.detection.coco import CocoSet, some
from stages.detection.images import decode_image, read_bytes
from stages.errors import DataError
from stages.options.data import ConvertOptions
from stages.outside import names

CHUNK = 256  # images between two progress reports


@dataclass(frozen=True)
class _Seen:
    """An image's size in pixels, 0 if it cannot be read, and its look if images are compared."""

    width: int = 0
    height: int = 0
    look: Look | None = None
    error: str = ""


class Convert:
    """A data set in one of the layouts of ``formats/`` -> ``train.json``, ``val.json``, as far as there are splits."""

    name: ClassVar[str] = "convert"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("numpy", "opencv-python-headless", "PyYAML")
    Options: ClassVar[type] = ConvertOptions
    Output: ClassVar[type[ConvertedSet]] = ConvertedSet

    @dataclass(frozen=True)
    class Inputs:
        """Nothing: the files are the user's, and ``options.listing`` stands for them in the key."""

    def __init__(self, options: ConvertOptions) -> None:
        self.options = options

    def run(self, inputs: Inputs, context: StageContext) -> ConvertedSet:
        """Read every split, divide the only one if that is asked for, and write them."""
        o = self.options
        annotations = Path(o.annotations) if o.annotations else None
        source = open_source(o.kind, Path(o.root), annotations, Path(o.root))
        refuse_outsiders(source, o.allow_outside_images)
        context.info(describe(source, o.val_fraction))
        if o.val_fraction is not None:
            sets = self._divided(source, context)
        else:
            sets = {}
            for split, part in source.splits.items():
                seen = _look_at(part.images, context, compare=False) if source.sized else {}
                sets[split] = source.read(split, {path: (s.width, s.height) for path, s in seen.items()})
        for message in dict.fromkeys([*source.notes, *(w for content in sets.values() for w in content.warnings)]):
            context.warn(message)
        for split, content in sets.items():
            root = next(iter(source.splits.values())).root if o.val_fraction is not None else source.splits[split].root
            mark_outsiders(source, root, content.images)
            (context.out / f"{split}.json").write_text(json.dumps(content.as_dict()), encoding="utf-8")
            context.metric(f"{split}_images", len(content.images))
            context.metric(f"{split}_boxes", len(content.annotations))
        return ConvertedSet(root=context.out, files=hash_files(context.out))

    def _divided(self, source: Source, context: StageContext) -> dict[str, CocoSet]:
        """The only split, divided by ``val_fraction`` and the run's seed."""
        assert self.options.val_fraction is not None
        if len(source.splits) != 1:
            raise DataError(f"{source.root} has a validation split already; leave data.val_fraction out")
        (split, part), *_ = source.splits.items()
        if source.sized:
            paths = part.images
        else:
            content = source.read(split)
            with_native_separators(content.images, part.root)
            names.accept_outsiders(content.images, part.root, part.labels[0], self.options.allow_outside_images)
            paths = [names.image_path(part.root, image) for image in content.images]
        seen = _look_at(paths, context, compare=True)
        sizes = {path: (s.width, s.height) for path, s in seen.items()}
        # Read for each use: a difficult object is a box to train on, and none to score on.
        sets = {name: source.read(split, sizes, scored=name == VAL) for name in (TRAIN, VAL)}
        images = sets[TRAIN].images
        for content in sets.values():
            with_native_separators(content.images, part.root)
        classes = defaultdict(list)
        for annotation in sets[TRAIN].annotations:
            classes[annotation["image_id"]].append(annotation["category_id"])
        chosen, groups = held_out(
            [image["file_name"] for image in images],
            [seen[path].look for path in paths],
            [classes[image["id"]] for image in images],
            self.options.val_fraction,
            context.seed,
        )
        counts = Counter(groups)
        alike = sum(size for size in counts.values() if size > 1)
        if alike:
            context.info(f"{alike} images look like another one; such images stay on one side ({len(counts)} groups)")
        if (largest := max(counts.values())) > len(images) / 2:
            context.warn(
                f"{largest} of {len(images)} images look alike and stay together, so that {len(chosen)} are held out"
            )
        sides = {TRAIN: [i for i in range(len(images)) if i not in chosen], VAL: sorted(chosen)}
        return {name: sets[name].subset([sets[name].images[i] for i in sides[name]]) for name in (TRAIN, VAL)}


def _look_at(paths: Sequence[Path], context: StageContext, *, compare: bool) -> dict[Path, _Seen]:
    """Decode every image once; those that cannot be read are told (collecting decides what becomes of them)."""
    seen: dict[Path, _Seen] = {}
    for chunk in _looked_at(paths, context, compare):
        seen |= chunk
        context.progress(len(seen), len(paths))
    if broken := [s.error for s in seen.values() if s.error]:
        context.warn(f"{len(broken)} images cannot be read: {some(broken)}")
    return seen


def _looked_at(paths: Sequence[Path], context: StageContext, compare: bool) -> Iterator[dict[Path, _Seen]]:
    with threads(context.threads) as pool:
        for start in range(0, len(paths), CHUNK):
            part = paths[start : start + CHUNK]
            yield dict(zip(part, look_at(lambda path: _see(path, compare), part, pool), strict=True))


def _see(path: Path, compare: bool) -> _Seen:
    try:
        data = read_bytes(path)
        image = decode_image(data, path)
    except DataError as error:
        return _Seen(error=str(error))
    height, width = image.shape[:2]
    return _Seen(width, height, look_of(image, sha256(data).hexdigest()) if compare else None)
