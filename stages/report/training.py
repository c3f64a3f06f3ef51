"""What was trained on the way to the engines, for the report: the curves of distillation and fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from stages.artifacts import LIGHT_FILE, Checkpoint, ExportedModel, QuantizedModel
from stages.outside import records
from stages.report.schema import CurvePoint, LightContent, Training

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HISTORY, SCORES = "history.json", "scores.json"
NAMES = {"distill": "Compression", "finetune": "Fine-tuning", "lighten": "Making it lighter"}
_SCORES = {"eval_loss": "loss on images left out", "eval_map": "mAP on images left out"}


class _Scores(TypedDict):
    best: int
    scores: list[dict[str, Any]]


def read(
    compressed: Sequence[QuantizedModel], trained: Sequence[Checkpoint], lightened: Sequence[ExportedModel] = ()
) -> list[Training]:
    """The curves there are; post-training quantization has none."""
    found = [_training("finetune", "", one.root, one.files, None, None) for one in trained]
    for made in lightened:
        told: LightContent = records.read(made.root / LIGHT_FILE, LightContent)
        found.append(_training("lighten", "", made.root, made.files, told["steps"], told["images"]))
    found += [_training("distill", one.method, one.root, one.files, one.steps, one.images) for one in compressed]
    return [training for training in found if training["loss"]]


def draw(training: Training) -> Figure:
    """The loss by step and, on an axis of their own, the scores; the step that was kept is marked."""
    from stages.report.figures import panel
    from stages.report.style import PALETTE, SOFT

    figure, axes = panel(2.4)
    axes.plot([p["step"] for p in training["loss"]], [p["value"] for p in training["loss"]], color=PALETTE[0],
              linewidth=1.3, label="loss")  # fmt: skip
    axes.set_xlabel("step", fontsize=9)
    axes.set_ylabel("loss", fontsize=9)
    if training["scores"]:
        beside = axes.twinx()
        beside.patch.set_visible(False)
        beside.spines[["top"]].set_visible(False)
        beside.tick_params(labelsize=8)
        beside.plot([p["step"] for p in training["scores"]], [p["value"] for p in training["scores"]], "o-",
                    color=PALETTE[1], markersize=4, linewidth=1, label=training["what"])  # fmt: skip
        beside.set_ylabel(_SCORES.get(training["what"] or "", training["what"] or ""), fontsize=9, color=PALETTE[1])
        if training["best"] is not None:
            axes.axvline(training["best"], color=SOFT, linewidth=0.9, linestyle="--")
    return figure


def _training(
    stage: str, method: str, root: Path, files: dict[str, str], steps: int | None, images: int | None
) -> Training:
    history = records.read(root / HISTORY, list[dict[str, Any]]) if HISTORY in files else []
    loss = _points(history, "loss")
    scored: _Scores = records.read(root / SCORES, _Scores) if SCORES in files else {"best": 0, "scores": []}
    what = next((name for name in _SCORES if any(name in one for one in scored["scores"])), None)
    return {
        "stage": stage,
        "method": method,
        "steps": steps if steps is not None else max((p["step"] for p in loss), default=0),
        "images": images,
        "loss": loss,
        "what": what,
        "scores": _points(scored["scores"], what) if what else [],
        "best": scored["best"] if what else None,
    }


def _points(entries: Sequence[dict[str, Any]], name: str) -> list[CurvePoint]:
    return [{"step": int(one["step"]), "value": float(one[name])} for one in entries if one.get(name) is not None]
