"""The model card: ``README.md`` of a bundle, Markdown behind the metadata that Hugging Face reads (``model-index``).

It says what is known. What was not measured is listed with the reason; what the model is good for beyond that, nobody
told detpress. https://huggingface.co/docs/hub/model-cards has the keys of the metadata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from stages.bundle.facts import Fact, Facts
from stages.bundle.metadata import LICENSE
from stages.outside.text import line
from stages.report import marks
from stages.report.markdown_text import code, escape
from stages.report.schema_thresholds import MovedThresholds

FILE = "README.md"
TASK = "object-detection"
_TYPES = {"map": "mean_average_precision", "map50": "mean_average_precision_50", "map75": "mean_average_precision_75"}
_MOST_LABELS = 20
_NO_PURPOSE = (
    "The run does not say what it is meant for. How it does on images of another kind than those it was measured on "
    "(below), nobody measured:\ntry it on yours before you rely on it."
)
_CARD = """\
# {title}, {precision}, for {backend}

Made by detpress from run {run_id}.

    detpress verify BUNDLE.zip             # digests, agreement on the golden images, a quick latency
    detpress predict BUNDLE.zip IMAGE...   # JSON and drawn boxes; so does MODEL.onnx alone

Without detpress: {onnx} runs in ONNX Runtime with numpy and OpenCV alone. {paddle}
`engine/infer_cfg.yml` holds preprocessing, labels and tensor names; NMS runs {nms}.

## What it does

It finds objects of {classes} in images: {labels}. The network sees an image of {height} by {width} pixels (height,
width), {batch} at a time.

{purpose}

## What was measured

{where}

{table}

{missing}{thresholds}## Files and terms

`bom.cdx.json` lists files with digests, packages with versions and the numbers above, as CycloneDX has them.
`SHA256SUMS` has the digests of all files. {license} `NOTICE.md` says more.
"""


def render(record: Mapping[str, Any], facts: Facts, *, paddle: str, nms: str) -> str:
    """The card.

    Args:
        record: ``bundle.json``.
        paddle: a sentence about the folder ``paddle/``.
        nms: where NMS runs, with its thresholds.
    """
    size = record["preprocess"]["input_size"]
    labels = record["labels"]
    body = _CARD.format(
        title=escape(line(record["model"])),
        precision=record["precision"],
        backend=record["backend"],
        run_id=code(record["run_id"]),
        onnx=code(record["onnx"]),
        paddle=paddle,
        nms=nms,
        classes="one class" if len(labels) == 1 else f"{len(labels)} classes",
        labels=_listed(labels),
        height=size[0],
        width=size[1],
        batch=record["engine"]["batch"],
        purpose=_NO_PURPOSE,
        where=_where(facts),
        table=_table(facts["measured"]),
        missing=_missing(facts),
        thresholds=_thresholds(record.get("thresholds")),
        license=LICENSE,
    )
    return (
        f"---\n{yaml.safe_dump(metadata(record, facts), sort_keys=False, allow_unicode=True, width=10_000)}---\n{body}"
    )


def metadata(record: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """What stands before the card in YAML. Without a number or the data set's name there is no ``model-index``."""
    model = line(record["model"])
    content: dict[str, Any] = {
        "license": "other",
        "license_name": "terms-of-checkpoint-and-images",
        "license_link": "NOTICE.md",
        "pipeline_tag": TASK,
        "tags": [TASK, "detpress", record["backend"], record["precision"]],
    }
    if facts["data"] is None or not facts["measured"]:
        return content
    name = line(facts["data"])
    content["model-index"] = [
        {
            "name": model,
            "results": [
                {
                    "task": {"type": TASK, "name": "Object Detection"},
                    "dataset": {"type": _identifier(name), "name": name, "split": "validation"},
                    "metrics": [_metric(fact, facts) for fact in facts["measured"]],
                }
            ],
        }
    ]
    return content


def in_words(fact: Fact) -> str:
    """Interval and validity of a number in plain text."""
    interval = fact["interval"]
    said = fact["about"] if interval is None else f"{interval[0]:.6g} to {interval[1]:.6g} ({fact['about']})"
    if not fact["timed"]:
        return said
    if fact["verdict"] is None:
        return f"{said}; whether the timing was quiet is not known"
    if not marks.is_valid(fact["verdict"]):
        return f"{said}; measured while disturbed, do not rely on it: {line(marks.why(fact['verdict']))}"
    return f"{said}; {'the ratio can be relied on' if fact['kind'] == 'speedup' else 'the timing was quiet'}"


def name_of(fact: Fact) -> str:
    """What a number is, with the class it is of."""
    return f"{fact['name']}: {line(fact['part'])}" if fact["part"] else fact["name"]


def _metric(fact: Fact, facts: Facts) -> dict[str, Any]:
    words = [name_of(fact), in_words(fact)]
    if fact["timed"] and facts["hardware"]:
        words.append(f"on {line(facts['hardware'])}")
    return {"type": _TYPES.get(fact["kind"], fact["kind"]), "value": round(fact["value"], 6), "name": "; ".join(words)}


def _identifier(name: str) -> str:
    """A data set's name as an identifier, which is what ``type`` has to be."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-") or "dataset"


def _listed(labels: Sequence[str]) -> str:
    shown = ", ".join(escape(line(label)) for label in labels[:_MOST_LABELS])
    return f"{shown} and {len(labels) - _MOST_LABELS} more (`labels.txt`)" if len(labels) > _MOST_LABELS else shown


def _where(facts: Facts) -> str:
    """On which images and which machine."""
    said = []
    if facts["images"] is not None:
        data = f"the validation images of {escape(line(facts['data']))}" if facts["data"] else "the validation images"
        said.append(f"Scores are of {data}: {facts['images']} images with {facts['boxes']} boxes.")
    if facts["hardware"]:
        threads = "" if facts["threads"] is None else f", threads: {facts['threads']}"
        batch = "" if facts["batch"] is None else f", batch: {facts['batch']}"
        said.append(f"Times are of {escape(line(facts['hardware']))}{threads}{batch}.")
    return " ".join(said) or "The run's report says nothing of this engine."


def _table(measured: Sequence[Fact]) -> str:
    rows = [f"| {escape(name_of(f))} | {f['value']:.6g} | {escape(in_words(f))} |" for f in measured]
    head = ["| what | value | interval and validity |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows]) if rows else "Nothing."


def _missing(facts: Facts) -> str:
    """What could not be measured, and why; never a zero in the table."""
    if not facts["missing"]:
        return ""
    rows = [f"- {escape(line(each['name']))}: {escape(line(each['reason']))}" for each in facts["missing"]]
    return "\n".join(["Not measured:", "", *rows]) + "\n\n"


def _thresholds(moved: MovedThresholds | None) -> str:
    """The application's thresholds on this engine's scores; nothing where its run named none."""
    if moved is None:
        return ""
    on = f"{moved['images']} " + (
        "labelled training images, at FP32's precision"
        if moved["by"] == "labels"
        else "unlabelled images, where it finds as many boxes as FP32 (agreement, not accuracy)"
    )
    head = ["| class | FP32 threshold | of this engine | 95 % interval |", "| --- | ---: | ---: | --- |"]
    rows = [
        f"| {escape(line(one['label']))} | {one['base']:g} | {one['threshold']:.4f} | "
        + ("none" if one["low"] is None or one["high"] is None else f"{one['low']:.4f} to {one['high']:.4f}")
        + " |"
        for one in moved["classes"]
    ]
    said = (
        f"Where thresholds that were tuned on FP32 belong on the scores of this engine, found on {on}. One whose "
        "interval holds FP32's stays. `detpress predict --threshold moved` uses them."
    )
    return "\n".join(["## Thresholds", "", said, "", *head, *rows]) + "\n\n"
