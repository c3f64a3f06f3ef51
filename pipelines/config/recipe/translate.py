"""A recipe's file as a whole: which sections there are, which method they mean, and what is still missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.config.recipe import brought, compression
from pipelines.config.recipe.source import Section, Translation, read_yaml
from stages.errors import InputError
from stages.options.compression import PTQ, QAT_DISTILL

QUANT_AWARE, AFTER = ("QuantAware", "Quantization"), ("PTQ", "QuantPost")
TRAINED = (*QUANT_AWARE, "Distillation", "TrainConfig")
METHODS = {"QAT": QAT_DISTILL, "PTQ": PTQ}
"""As ``fastdeploy compress --method`` calls them -> ``compression.method``."""
_READER = ("TrainDataset", "EvalDataset", "EvalReader", "TestDataset", "metric", "num_classes", "worker_num")
_OTHERS = {
    **dict.fromkeys(("ChannelPrune", "ASPPrune", "TransformerPrune", "UnstructurePrune", "Prune"), "nothing is pruned"),
    "HyperParameterOptimization": "algorithms are not searched for; try each with compression.ptq_algo",
    "MultiTeacherDistillation": "the teacher is the FP32 model itself",
}


def translate(file: Path, *, method: str | None = None, reader: Path | None = None) -> Translation:
    """Overrides of ``detpress compress`` that do what a FastDeploy or ACT recipe asks for.

    Args:
        file: the recipe.
        method: ``QAT`` or ``PTQ``; by default the one that the file has sections for, QAT where it has both.
        reader: PaddleDetection's reader; by default the one that ``Global.reader_config`` names, if it is found.

    Raises:
        InputError: the file cannot be read, is no such recipe, or a value is not of the kind that its key has.
    """
    content = _with_sections(read_yaml(file))
    method = method or _method(file, content)
    out = Translation(choices={"compression": METHODS[method]})
    top = Section(file, "", content, out)
    own = top.inside("Global")
    folder = own.take("model_dir") if "model_dir" in own else None
    scored = bool(own.take("Evaluation"))
    batch = own.number("qat_batch_size", whole=True)
    if batch is not None and method == "QAT":
        out.values["compression.batch"] = batch
    if method == "QAT":
        compression.quantization(top.inside(_first(file, content, QUANT_AWARE)), out)
        compression.distillation(top.inside("Distillation"), folder, out)
        compression.training(top.inside("TrainConfig"), scored, out)
    else:
        compression.after_training(top.inside(_first(file, content, AFTER)), out)
    _model_and_images(file, content, own, folder, method, reader, out)
    for name in (*TRAINED, *AFTER):
        if name in top:
            other = "PTQ" if name in AFTER else "QAT"
            top.leave(name, f"is not read by {method}; import-config --method {other} takes it")
    for name, why in _OTHERS.items():
        if name in top:
            top.leave(name, why)
    for name in _READER:
        top.take(name)  # they were read above
    top.close()
    for key, value in list(out.values.items()):
        if "${" in str(value):  # Hydra would take it for the name of another key
            del out.values[key]
            out.missing.append(f"{key}=..., which is {value!r} there: a value without ${{ is needed")
    return out


def _with_sections(content: dict[str, Any]) -> dict[str, Any]:
    """A file of PaddleSlim's ``post_quant.py`` has everything at the top: its keys in sections."""
    if "Global" in content or "model_dir" not in content:
        return content
    kept = {name: value for name, value in content.items() if name in _READER}
    skipped = {"skip_tensor_list": content.get("skip_tensor_list")}
    others = {name: value for name, value in content.items() if name not in kept and name not in skipped}
    return {"Global": others, "PTQ": skipped, **kept}


def _method(file: Path, content: dict[str, Any]) -> str:
    if any(name in content for name in QUANT_AWARE):
        return "QAT"
    if any(name in content for name in AFTER):
        return "PTQ"
    sections = ", ".join((*QUANT_AWARE, *AFTER))
    raise InputError(f"{file} asks for no quantization: none of the sections {sections} is in it; name another file")


def _first(file: Path, content: dict[str, Any], names: tuple[str, ...]) -> str:
    """The section of these that the file has."""
    found = next((name for name in names if name in content), None)
    if found is None:
        raise InputError(
            f"{file} has no section {' or '.join(names)}, which this method needs; choose the other method"
        )
    return found


def _model_and_images(
    file: Path,
    content: dict[str, Any],
    section: Section,
    folder: Any,
    method: str,
    reader: Path | None,
    out: Translation,
) -> None:
    brought.model(section, folder, out)
    own, other = ("qat_image_path", "ptq_image_path") if method == "QAT" else ("ptq_image_path", "qat_image_path")
    brought.images(section, own, other, out)
    named = section.take("reader_config")
    found = reader or (brought.reader_file(str(named), file) if named is not None else None)
    if found is not None:
        brought.reader(found, None, out)
    elif any(name in content for name in _READER):
        brought.reader(file, {name: content[name] for name in _READER if name in content}, out)
    elif named is not None:
        section.leave("reader_config", f"there is no file {named} here; name it with --reader, or give data and model")
    section.close()
    if "data.unlabeled_images" not in out.values:
        out.missing.append("data=coco_folder data.unlabeled_images=DIR, images without labels to compress with")
    if "data.val_annotations" not in out.values:
        out.missing.append(brought.LABELLED)
    if out.values.get("compression.eval_by") == "map" and "data.train_annotations" not in out.values:
        out.missing.append(brought.TRAIN_LABELS)
