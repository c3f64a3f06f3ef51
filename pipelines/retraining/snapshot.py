"""What a retraining would start from, and what of it changed since the last one: in seconds, without running anything.

A snapshot is plain data::

    images        split -> {file, relative to its folder if it lies there: [size, mtime_ns, sha256]}
    labels        split -> {"sha256", "classes": [...], "images", "boxes", "boxed": images with a box}
    checkpoint    digest of the model that the config names; null: random weights
    packages      distribution or part of a backend's fingerprint -> version
    driver        {"driver", "hardware"}
    config        every value of the config that can change a result, with its dotted name

A file of the same size and time as in the snapshot before is not read again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.config.auto import TRAIN, converted
from pipelines.config.digest import NOT_RESULTS
from pipelines.config.options.retrain import RetrainOptions
from pipelines.config.schema import PipelineConfig
from pipelines.config.user_data import Labels
from pipelines.execution.paddle_python import paddle_python
from pipelines.graph.compress import compress_graph, finetune_nodes
from pipelines.system import provenance
from pipelines.system.redact import redact
from stages.artifacts import Artifact, digest_of, sha256_of
from stages.catalog import stage_class
from stages.codec import to_json
from stages.detection.coco import load_coco
from stages.errors import DataError

Snapshot = dict[str, Any]
_SHOWN = 4  # names in one sentence


def snapshot(config: PipelineConfig, model: Artifact | None, before: Snapshot | None) -> Snapshot:
    """How things stand now.

    Args:
        config: with ``model.labels`` filled in.
        model: what ``compress.user_model`` found.
        before: an earlier snapshot, whose hashes are taken where size and time are the same.
    """
    splits = {} if config.data.kind == "shapes" else _splits(config)
    files = Labels(config.data) if splits else None
    known: Mapping[str, Any] = (before or {}).get("images", {})
    images: dict[str, Any] = {}
    for name, (folder, _) in splits.items():
        own = name == "calibration" or (name == "unlabeled" and config.data.unlabeled_images is not None)
        images[name] = _files(Path(folder), _images_of(name, folder, None if own else files), known.get(name, {}))
    return {
        "images": images,
        "labels": {name: _labels_of(name, Path(labels), files) for name, (_, labels) in splits.items() if labels},
        "checkpoint": model.digest if model else None,
        "packages": _packages(config, model),
        "driver": {"driver": provenance.driver(), "hardware": provenance.hardware()},
        "config": _config(config),
    }


def changed(before: Snapshot, now: Snapshot, options: RetrainOptions) -> list[str]:
    """What differs and is watched, a sentence each, most telling first."""
    watch, changes = options.watch, list[str]()
    if watch.images:
        changes += _images(before["images"], now["images"], options.min_images)
    if watch.labels:
        for split, labels in now["labels"].items():
            if labels["sha256"] != before["labels"].get(split, {}).get("sha256"):
                changes.append(f"the labels of {split} are others")
    if watch.checkpoint and before["checkpoint"] != now["checkpoint"]:
        changes.append("the checkpoint is another")
    for name, watched in (("packages", watch.packages), ("driver", watch.driver)):
        if watched:
            changes += _values(before[name], now[name])
    return changes + _values(before["config"], now["config"])


def image_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """Files of one split that came, that went, and that have other bytes."""
    came = [name for name in now if name not in before]
    went = [name for name in before if name not in now]
    other = [name for name in now if name in before and now[name][2] != before[name][2]]
    return came, went, other


def label_summary(path: Path) -> dict[str, Any]:
    """What a COCO file says in short; a file that is no COCO is left to the stage that tells what is wrong with it."""
    summary: dict[str, Any] = {"sha256": sha256_of(path), "classes": [], "images": 0, "boxes": 0, "boxed": 0}
    try:
        content = load_coco(path)
        summary["classes"] = [str(c["name"]) for c in content["categories"]]
        summary |= {"images": len(content["images"]), "boxes": len(content["annotations"])}
        summary["boxed"] = len({a["image_id"] for a in content["annotations"]})
    except (DataError, KeyError, TypeError):
        pass
    return summary


def converted_summary(files: Labels, split: str) -> dict[str, Any]:
    """The same of a split that is converted: the digest is that of its label files, whatever their times are."""
    root, _, labels = files.files(split) or (Path(), [], [])
    label_digests: list[list[str]] = [
        [Path(os.path.relpath(p, root)).as_posix(), sha256_of(p)] for p in labels if p.is_file()
    ]
    found: dict[str, Any] = {"sha256": digest_of(label_digests), "classes": [], "images": 0, "boxes": 0, "boxed": 0}
    with contextlib.suppress(DataError):
        content = files.content(split)
        found |= {"classes": content.labels, "images": len(content.images), "boxes": len(content.annotations)}
        found["boxed"] = len({a["image_id"] for a in content.annotations})
    return found


def _labels_of(split: str, path: Path, files: Labels | None) -> dict[str, Any]:
    if files is not None and files.files(split) is not None:
        return converted_summary(files, split)
    return label_summary(path)


def _images_of(split: str, folder: str, files: Labels | None) -> list[Path]:
    """The images that are read of a split: those that its labels name, or all in its folder if it has none."""
    from stages.detection.images import list_images

    return list_images(Path(folder)) if files is None else files.opened(TRAIN if split == "unlabeled" else split)


def _splits(config: PipelineConfig) -> dict[str, tuple[str, str | None]]:
    """Split -> its folder of images and its label file, as far as a retraining reads them."""
    data = config.data
    unlabeled = data.train_images if converted(data) and data.unlabeled_images is None else data.unlabeled_images
    splits = {"unlabeled": (unlabeled, None), "val": (data.val_images, data.val_annotations)}
    if config.compression.method != "none":
        splits["calibration"] = (data.calibration_images, None)
    if config.finetune.enabled or config.retrain.finetune:
        splits["train"] = (data.train_images, data.train_annotations)
    return {name: (folder, labels) for name, (folder, labels) in splits.items() if folder}


def _files(folder: Path, images: Sequence[Path], known: Mapping[str, Any]) -> dict[str, list[Any]]:
    files: dict[str, list[Any]] = {}
    for path in images:
        if not path.is_file():
            continue  # the stage that opens it tells
        stat, name = path.stat(), (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
        old = known.get(name, [None, None, ""])
        same = old[:2] == [stat.st_size, stat.st_mtime_ns]
        files[name] = [stat.st_size, stat.st_mtime_ns, old[2] if same else sha256_of(path)]
    return files


def _packages(config: PipelineConfig, model: Artifact | None) -> dict[str, str]:
    nodes = compress_graph(config, model, threads=1)
    if config.retrain.finetune and not config.finetune.enabled:
        nodes += finetune_nodes(config, model, threads=1)
    python, versions = paddle_python(config.run.paddle_python), dict[str, str]()
    for node in nodes:
        for name in stage_class(node.stage).packages:
            versions[name] = python.version_of(name) or "not installed"
        versions |= {str(k): str(v) for k, v in node.fingerprint.items()}
    return dict(sorted(versions.items()))


def _config(config: PipelineConfig) -> dict[str, Any]:
    plain = redact(to_json(config))
    flat: dict[str, Any] = {}
    _flatten({name: part for name, part in plain.items() if name not in NOT_RESULTS}, "", flat)
    flat["retrain.finetune"] = config.retrain.finetune
    return flat


def _flatten(tree: Mapping[str, Any], prefix: str, flat: dict[str, Any]) -> None:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            _flatten(value, f"{prefix}{name}.", flat)
        else:
            flat[f"{prefix}{name}"] = value


def _images(before: Mapping[str, Any], now: Mapping[str, Any], least: int) -> list[str]:
    """Changed images, if they are enough; one that lies in two splits (without labels, too) counts once."""
    changes: list[str] = []
    names: set[str] = set()
    for split, files in now.items():
        old = before.get(split, {})
        came, went, other = image_changes(old, files)
        words = ((came, "new"), (went, "gone"), (other, "changed"))
        if parts := [f"{len(part)} {word}" for part, word in words if part]:
            changes.append(f"images of {split}: {', '.join(parts)}")
        names |= {files[name][2] for name in [*came, *other]} | {old[name][2] for name in went}
    return changes if len(names) >= least else []


def _values(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    changes = [
        f"{name} {_shown(before.get(name))} -> {_shown(now.get(name))}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    return changes if len(changes) <= _SHOWN else [*changes[:_SHOWN], f"{len(changes) - _SHOWN} more values"]


def _shown(value: Any) -> str:
    text = "(none)" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def describe(changes: Sequence[str]) -> str:
    """The changes as one line."""
    return "; ".join(changes)
