"""``import detpress``: the commands as functions, for scripts and notebooks (docs/api.md).

Each takes the words that its command takes after its name (overrides such as ``experiment=demo``, ``--config-dir=DIR``)
and does the same by the same code. In place of exit codes 2 and 4 it raises the project's errors (`stages.errors`), in
the words of the command line. Nothing is printed unless ``progress=True``; handlers of signals, the environment,
loggers, the current folder and a Hydra config of the caller's stay as they are. The file of the module is
``detpress.py``, which hands out the names of ``__all__``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pipelines.commands import hydra_command
from pipelines.commands.finetune import apart
from pipelines.commands.plan import Plan, plan_compress
from pipelines.results import EngineReport, Report, Retrained, Trained
from pipelines.runs import history
from pipelines.runs.figure import Figure
from pipelines.runs.observers import watched_by
from pipelines.runs.predictions import predictions
from pipelines.runs.remembered import require_report
from pipelines.runs.watching import Progress, Watch, watcher
from pipelines.system.caller import called
from stages.errors import (
    AgreementError,
    ConfigError,
    DataError,
    DetpressError,
    ExitCode,
    InputError,
    StageCrashed,
    StageError,
    StoreError,
    UnavailableError,
    WeightsError,
)
from stages.options.thresholds import MOVED
from stages.report.gates import holds
from stages.report.schema import ReportContent

__all__ = [
    "AgreementError",
    "ConfigError",
    "DataError",
    "DetpressError",
    "EngineReport",
    "Figure",
    "InputError",
    "Plan",
    "Progress",
    "Report",
    "Retrained",
    "StageCrashed",
    "StageError",
    "StoreError",
    "Trained",
    "UnavailableError",
    "WeightsError",
    "compress",
    "finetune",
    "plan",
    "predict",
    "report",
    "retrain",
]


def compress(overrides: Sequence[str] = (), *, progress: bool | Watch = False) -> Report:
    """Distil to INT8, build an engine per backend, measure latency and mAP: ``detpress compress``.

    Args:
        overrides: as on the command line, e.g. ``["experiment=demo", "compression.steps=20"]``.
        progress: ``True`` prints a line a stage on standard error; a function is called with each `Progress`.

    Returns:
        The report, also where a gate does not hold: look at ``passed``.

    Raises:
        InputError: the user's input is wrong (a ConfigError with every problem, DataError, WeightsError).
        UnavailableError: none of the backends can run here.
        StageError: a stage or an engine failed. The message names the report of what there is (see `report`).
        StoreError: results cannot be read or written.
    """
    from pipelines.compress import run_compress

    with called(tell=progress is True) as kept, watched_by(watcher(progress)):
        config, command = hydra_command.one("compress", overrides)
        outcome = run_compress(config, command=command)
        assert outcome.path is not None, "a compression that ends has a report"
        content = require_report(outcome.path.parent, ReportContent)
        if outcome.exit_code not in (ExitCode.DONE, ExitCode.GATE_FAILED):
            raise _failed(content, outcome.path)
        return Report(outcome.path, content, outcome.exit_code, kept.lines())


def plan(overrides: Sequence[str] = ()) -> Plan:
    """What `compress` would do with the same overrides, per stage: cached or to run, why, how long: ``detpress plan``.

    Nothing is written or downloaded. ``missing`` is what this machine lacks (then the command ends with 2);
    ``steps`` have seconds and bytes, which are ``rough`` where they are scaled from another model's.

    Raises:
        InputError: as of `compress`.
    """
    with called():
        return plan_compress(hydra_command.one("plan", overrides)[0])


def finetune(overrides: Sequence[str] = (), *, progress: bool | Watch = False) -> Trained:
    """Train the FP32 detector on labelled images: ``detpress finetune``.

    Args:
        overrides: as on the command line; ``out=FILE`` names the checkpoint (default: in the run's folder).
        progress: see `compress`.

    Raises:
        DetpressError: as of `compress`; what stopped a stage.
    """
    from pipelines.finetune import run_finetune

    with called(tell=progress is True) as kept, watched_by(watcher(progress)):
        words, outs = apart(overrides)
        config, command = hydra_command.one("finetune", words, finetune_only=True)
        out = outs[0].removeprefix("out=") if outs else None
        outcome = run_finetune(config, out, command=[*command, *outs])
        assert outcome.path is not None, "a training that ends has a checkpoint"
        return Trained(outcome.path, kept.lines())


def retrain(overrides: Sequence[str] = (), *, progress: bool | Watch = False) -> Retrained:
    """Retrain once, if data, code or config changed; promote if every gate passes: ``detpress retrain``.

    Raises:
        DetpressError: as of `compress`. The outcome is recorded all the same, as the command does.
    """
    from pipelines import retrain as pipeline
    from pipelines.retraining import refused

    failed: list[Exception] = []
    with called(tell=progress is True) as kept, watched_by(watcher(progress)):
        try:
            config, command = hydra_command.one("retrain", overrides)
        except InputError as error:
            refused.refused(overrides, error, on_error=failed.append)
            raise
        code, path = pipeline.run_retrain(config, command=command, on_error=failed.append)
        for failure in failed:
            raise failure
        record = json.loads(path.read_text(encoding="utf-8"))
        return Retrained(path, record["outcome"], record["reason"], code, record, kept.lines())


def predict(
    model: str | Path,
    images: Sequence[str | Path],
    *,
    threshold: float | Literal["moved"] | None = None,
    out: str | Path | None = None,
) -> list[dict[str, Any]]:
    """What a bundle's engine finds in images: ``detpress predict``.

    Args:
        model: a bundle's zip file, or an ONNX file out of one.
        images: files of any size that OpenCV reads.
        threshold: least score, 0 to 1; ``None``: the ``draw_threshold`` of the model; ``"moved"``: for each class the
            one that belongs on the engine's scores, where its run named the application's (``thresholds.score``).
        out: folder for pictures with the boxes drawn in; ``None``: none.

    Returns:
        For each image ``{"image", "detections", "drawn"}``. A detection is ``{"class", "label", "score", "box"}``: the
        number and the name of the class, 0 to 1, and ``[x1, y1, x2, y2]`` in pixels of the image.

    Raises:
        DataError: an image cannot be read.
        InputError: the model cannot be used, or an argument does not fit.
        UnavailableError: its backend cannot run here.
    """
    with called():
        if isinstance(threshold, str) and threshold != MOVED:
            raise InputError(f"threshold={threshold} does not fit; it is a score from 0 to 1, or {MOVED}")
        if isinstance(threshold, (int, float)) and not (math.isfinite(threshold) and 0 <= threshold <= 1):
            raise InputError(f"threshold={threshold} does not fit; it is a score from 0 to 1")
        pictures = None if out is None else Path(out)
        return list(predictions(Path(model), [Path(image) for image in images], pictures, threshold))


def report(run: str = "latest", artifacts: str | Path = "artifacts") -> Report:
    """The report of an earlier compression.

    Args:
        run: the run's id, its end or its folder.
        artifacts: where the results are (``run.artifacts``).

    Raises:
        InputError: there is no such run, or it did not get as far as a report.
    """
    with called():
        folder = history.find_run(run, Path(artifacts)).resolve()
        content = require_report(folder, ReportContent)
        code = ExitCode.DONE if all(map(holds, content.get("gates") or [])) else ExitCode.GATE_FAILED
        return Report(folder / "report.json", content, code)


def _failed(content: ReportContent, path: Path) -> StageError:
    """What failed, for a run whose other results are in its report."""
    rows = [row for row in content["rows"] if row["status"] != "ok"]
    errors = [
        f"{row['backend']} {row['precision']}: {line}" for row in rows for line in (row["error"] or "").split("\n")
    ]
    errors += [f"{failure['stage']}: {failure.get('error', '')}" for failure in content["failures"] if not rows]
    return StageError(f"not every stage ended well; the report of the others is {path}", list(dict.fromkeys(errors)))
