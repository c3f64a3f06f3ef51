"""What a recipe says of the model and of images: ``Global``, and the reader's file that ACT takes beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.config.recipe.source import Section, Translation, read_yaml
from stages.detection.published import AS_THEY_ARE, IMAGENET, PUBLISHED, same
from stages.options.model import INTERPOLATIONS
from stages.programs.files import PARAMS, PROGRAMS, STEMS

_FOLDER = re.compile(r"ppyoloe(_plus)?_crn_([a-z])(?:_auxhead)?(_relu)?(_320)?_\d+e(_|$)")
_PREPROCESS = {"ppyoloe_withNMS_image_preprocess": False, "ppyoloe_plus_withNMS_image_preprocess": True}
"""FastDeploy's functions -> whether images are left as they are, as for PP-YOLOE+."""
_INPUTS = {"image", "scale_factor"}
_ARCHITECTURES = ("PPYOLOE", "YOLO")  # the latter where NMS is in the graph

LABELLED = "data.val_annotations=FILE and data.val_images=DIR, labelled images to score on (both null: no score)"
TRAIN_LABELS = "data.train_annotations=FILE and data.train_images=DIR, which the student is scored on (eval_by=map)"


def model_of(folder: str) -> str | None:
    """The model that PaddleDetection's name of an export stands for, or ``None``."""
    found = _FOLDER.match(Path(folder.rstrip("/\\")).name)
    name = "ppyoloe{}_{}{}{}".format(*(part or "" for part in found.groups()[:4])) if found else ""
    return name if name in PUBLISHED else None


def model(section: Section, folder: Any, out: Translation) -> None:
    """Model and form of the export in ``folder``; what the graph itself tells is read from it later."""
    form = section.take("format")
    name = model_of(str(folder)) if folder is not None else None
    if name is not None:
        out.choices["model"] = name
    else:
        out.missing.append(f"model=NAME, which {folder or 'the recipe'} does not tell: one of {', '.join(PUBLISHED)}")
    if folder is not None and form in (None, "paddle"):
        out.values["model.inference_dir"] = str(folder)
        if not Path(str(folder)).is_dir():
            out.missing.append(f"model.inference_dir=DIR, the exported model: there is no folder {folder} here")
    else:
        if form not in (None, "paddle"):
            section.leave("format", f"{form!r} is not taken: a model of Paddle is compressed")
        out.missing.append("model.inference_dir=DIR, an export of PaddleDetection, or model.weights=FILE")
    program, params = section.take("model_filename"), section.take("params_filename")
    known = {f"{stem}{ending}": f"{stem}{PARAMS}" for stem in STEMS for ending in PROGRAMS}
    if program is not None and (program not in known or params not in (None, known[program])):
        names = ", ".join(known)
        section.leave("model_filename", f"{program} with {params} is not taken: call them {names} and {PARAMS}")
    inputs = section.take("input_list")
    if inputs is not None and not set(inputs) <= _INPUTS:
        section.leave("input_list", f"{inputs!r} is not taken: a PP-YOLOE has the inputs {', '.join(sorted(_INPUTS))}")
    section.expect("arch", *_ARCHITECTURES, why="PP-YOLOE is compressed here")
    section.take("include_nms")  # the graph is cut before it, where it has one
    _family(section, name, out)


def _family(section: Section, name: str | None, out: Translation) -> None:
    """FastDeploy's preprocessing, which must be that of the model."""
    for key in ("qat_preprocess", "ptq_preprocess"):
        value = section.take(key)
        if value is None:
            continue
        if value not in _PREPROCESS:
            section.leave(key, f"{value!r} is not taken: the model says how its images are prepared")
        elif name is not None and PUBLISHED[name].plus != _PREPROCESS[value]:
            section.leave(key, f"{value} prepares images in another way than model={name} does; check which is right")


def images(section: Section, own: str, other: str, out: Translation) -> None:
    """The folder without labels of the method that is translated, ``own``; ``other`` is read by the other method."""
    if (folder := section.take(own)) is not None:
        out.choices["data"] = "coco_folder"
        out.values["data.unlabeled_images"] = str(folder)
        if not Path(str(folder)).is_dir():
            out.missing.append(f"data.unlabeled_images=DIR: there is no folder {folder} here")
    if other in section:
        section.leave(other, f"is not read by this method (import-config --method {other[:3].upper()} takes it)")


def reader_file(named: str, recipe: Path) -> Path | None:
    """Where a reader's file is that a recipe names, as seen from the folder that its tool is run in, or ``None``."""
    folders = [Path(), *recipe.resolve().parents[:3]]
    return next((folder / named for folder in folders if (folder / named).is_file()), None)


def reader(file: Path, content: Mapping[str, Any] | None, out: Translation) -> None:
    """PaddleDetection's reader: its data sets as paths, its ``EvalReader`` as the images' preparation."""
    section = Section(file, "", read_yaml(file) if content is None else content, out)
    section.expect("metric", "COCO", why="mAP is COCO's")
    for key in ("num_classes", "worker_num", "TestDataset", "eval_height", "eval_width", "eval_size"):
        section.take(key)  # classes follow from the labels; images are read as fast as they are needed
    for split, key in (("train", "TrainDataset"), ("val", "EvalDataset")):
        _data_set(section.inside(key), split, out)
    evaluation = section.inside("EvalReader")
    if (batch := evaluation.number("batch_size", whole=True)) is not None:
        out.values["compression.batch"] = batch
    for step in evaluation.take("sample_transforms") or []:
        for name, options in step.items() if isinstance(step, Mapping) else ():
            _transform(Section(file, f"EvalReader.{name}", options, out), name, out)
    evaluation.take("inputs_def")
    evaluation.close()
    section.close()


def _data_set(section: Section, split: str, out: Translation) -> None:
    kind = section.take("!")
    if kind is None:
        section.close()
        return
    root = Path(str(section.take("dataset_dir") or "."))
    annotations, folder = section.take("anno_path"), section.take("image_dir")
    if kind == "COCODataSet" and annotations is not None:
        out.choices["data"] = "coco_folder"
        out.values[f"data.{split}_annotations"] = str(root / annotations)
        out.values[f"data.{split}_images"] = str(root / (folder or ""))
        if split == "train":
            out.values["data.unlabeled_images"] = str(root / (folder or ""))
    else:
        out.left.append(f"{section.name}: {kind} is not taken; its labels are read with data=auto data.root={root}")
    for key in ("data_fields", "allow_empty", "label_list", "sample_num"):
        section.take(key)
    section.close()


def _transform(section: Section, name: str, out: Translation) -> None:
    if name == "Resize":
        size, how = section.take("target_size"), section.take("interp")
        if size is not None:
            out.values["model.input_size"] = list(size) if isinstance(size, (list, tuple)) else [size, size]
        names = {number: text for text, number in INTERPOLATIONS.items()}
        if how in names:
            out.values["model.interpolation"] = names[how]
        elif how is not None:
            section.leave("interp", f"{how!r} is not taken: there are {names}")
        section.expect("keep_ratio", False, why="images are stretched to the input's size")
    elif name == "NormalizeImage":
        mean, std = section.take("mean"), section.take("std")
        chosen = out.choices.get("model")
        usual = None if chosen is None else AS_THEY_ARE if PUBLISHED[chosen].plus else IMAGENET
        if mean is not None and std is not None and not (usual and same(usual[0], mean) and same(usual[1], std)):
            out.values |= {"model.mean": list(mean), "model.std": list(std)}
        if section.take("is_scale") is False:
            out.values["model.scale"] = False
        section.expect("norm_type", "none", "mean_std", why="images are normalized by mean and std")
    elif name not in ("Decode", "Permute"):
        out.left.append(f"{section.name}: is not taken; images are read, resized and normalized")
        return
    section.close()
