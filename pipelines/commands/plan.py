"""``detpress plan``: what ``detpress compress`` would do with the same arguments, and what it would take."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from pipelines.commands import doctor, hydra_command
from pipelines.config.schema import PipelineConfig
from pipelines.config.variants import Offer, offers_of
from pipelines.execution import ids
from pipelines.execution.events import PlannedStage
from pipelines.execution.node import Input, Node, Ref
from pipelines.execution.paddle_python import paddle_python
from pipelines.execution.plan import Step, estimate, shorter, survey
from pipelines.graph.compress import compress_graph
from pipelines.graph.user_inputs import threads_of, user_model, with_labels
from pipelines.runs.plan_words import planned_line
from pipelines.runs.reporting import timings_policy
from pipelines.runs.tables import stdout_console
from pipelines.store.remote import open_store
from pipelines.system.gpu_stack import predicted_device
from pipelines.system.provenance import driver
from pipelines.system.units import duration, size
from stages.backends.base import Unavailable
from stages.catalog import PADDLE, stage_entry
from stages.data.weights import cached_path, is_url
from stages.errors import ExitCode
from stages.outside.text import plain


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Print the plan of a compression."""
    as_json = "--json" in arguments

    def task(config: PipelineConfig, command: list[str]) -> int:
        return show(config, as_json=as_json)

    words = [argument for argument in arguments if argument != "--json"]
    return hydra_command.run("plan", words, task, debug=debug)


@dataclass(frozen=True)
class Plan:
    """A planned run."""

    steps: list[Step]
    missing: list[str]
    """What the run needs and this machine lacks."""
    notes: list[str]
    offers: list[Offer] = field(default_factory=list)
    """The precisions that each backend makes, and why not the others."""

    @property
    def unchanged(self) -> bool:
        """Whether every stage is cached."""
        return all(step.cached for step in self.steps)


def plan_compress(config: PipelineConfig) -> Plan:
    """Look up every stage of a compression; reads the store, writes and downloads nothing."""
    config = with_labels(config)
    notes: list[str] = []
    nodes = compress_graph(config, _source(config, notes), threads=threads_of(config))
    python = paddle_python(config.run.paddle_python)
    if any(PADDLE in stage_entry(node.stage).needs for node in nodes):
        device = predicted_device(config.run.device, driver(), python.version_of)
        notes.append(f"training, compression and scores take {device}")
    store = open_store(Path(config.run.artifacts).resolve(), config.run.store)
    steps = estimate(survey(nodes, store, config.seed, timings=timings_policy(config), python=python), store)
    return Plan(steps, _missing(config, nodes, steps), notes, offers_of(config))


def show(config: PipelineConfig, *, as_json: bool = False) -> int:
    """Print the plan; ``WRONG_INPUT`` if this machine lacks something that the run needs."""
    plan = plan_compress(config)
    if as_json:
        print(json.dumps(_plain(plan), indent=1))
    else:
        _print(plan)
    return ExitCode.WRONG_INPUT if plan.missing else ExitCode.DONE


def _source(config: PipelineConfig, notes: list[str]) -> Input:
    weights = config.model.weights
    if weights and is_url(weights) and not config.model.inference_dir and not cached_path(weights).is_file():
        notes.append("model.weights is downloaded first")
        return Ref(ids.WEIGHTS)
    return user_model(config)


def _missing(config: PipelineConfig, nodes: Sequence[Node], steps: Sequence[Step]) -> list[str]:
    missing, python = list[str](), paddle_python(config.run.paddle_python)
    for name in config.backend:
        state = python.availability(name)
        if isinstance(state, Unavailable):
            missing.append(f"backend {name}: {state}")
    needed = {name for step in steps if not step.cached for name in stage_entry(step.node.stage).needs}
    if PADDLE in needed:
        lacking = [check for check in doctor.paddle_of(python) if check.status == doctor.MISSING]
        missing += [
            f"{check.name}: {check.detail}" + (f"; install it with: {check.install}" if check.install else "")
            for check in lacking
        ]
    folder = Path(config.run.artifacts).resolve()
    while not folder.exists():
        folder = folder.parent
    room, free = sum(step.size or 0 for step in steps), shutil.disk_usage(folder).free
    if room > free:
        missing.append(f"disk: about {size(room)} are needed under {folder}, {size(free)} are free")
    return missing


def _plain(plan: Plan) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "unchanged": plan.unchanged,
        "stages": [
            {
                "id": step.node.id,
                "state": "cached" if step.cached else "run",
                "because": step.reasons,
                "entry": None if step.key is None else str(step.key),
                "follows": step.follows,
                "checkpoint": step.checkpoint,
                "seconds": None if step.cached else step.seconds,
                "bytes": None if step.cached else step.size,
            }
            for step in plan.steps
        ],
        "seconds": sum(step.seconds or 0.0 for step in plan.steps),
        "bytes": sum(step.size or 0 for step in plan.steps),
        "variants": [
            {
                "backend": one.backend,
                "made": one.made,
                "possible": one.possible,
                "left_out": [{"variants": names, "reason": why} for why, names in one.left_out.items()],
            }
            for one in plan.offers
        ],
        "missing": plan.missing,
        "notes": plan.notes,
    }


def _because(reasons: Sequence[str]) -> list[str]:
    """The reasons, of which another model is one, however many of its options are others; all are in the JSON."""
    own = [reason for reason in reasons if reason.startswith("model.")]
    named = [reason for reason in own if reason.startswith("model.name ")]
    if len(own) < 2 or not named:
        return list(reasons)
    return list(dict.fromkeys(named[0] if reason in own else reason for reason in reasons))


def _amounts(step: Step) -> tuple[str, str]:
    """Time and disk of a stage; "~" where another model's are scaled, "?" where nothing is known."""
    about = "~" if step.rough else ""
    return tuple(f"{about}{text}" if text else "?" for text in (duration(step.seconds), size(step.size)))  # type: ignore[return-value]


def _print(plan: Plan) -> None:
    console = stdout_console(160)
    table = Table(box=None, pad_edge=False)
    for name in ("", "stage", "", "because", "time", "disk"):
        table.add_column(name, overflow="fold", justify="right" if name in ("time", "disk") else "left",
                         no_wrap=name == "stage")  # fmt: skip
    for step in plan.steps:
        if step.cached:
            table.add_row(Text("=", "green"), step.node.id, Text("cached", "dim"), "", "", "")
            continue
        because = Text(
            "; ".join(_because(step.reasons)) + ("; continues from its checkpoint" if step.checkpoint else "")
        )
        table.add_row(Text("▶", "yellow"), step.node.id, "run", because, *_amounts(step))
    console.print(table)
    running = [step for step in plan.steps if not step.cached]
    if not running:
        console.print("\nNothing has to be computed: the run only writes its report.")
    else:
        console.print()
        stages = [PlannedStage(s.node.id, s.cached, s.seconds, s.rough, shorter(s.node)) for s in plan.steps]
        for line in planned_line(stages):
            console.print(f"{line}.")
        if known := [step.size for step in running if step.size is not None]:
            rest = f", without {len(running) - len(known)} stages whose size is not known"
            console.print(f"About {size(sum(known))} on disk{rest if len(known) < len(running) else ''}.")
        if any(step.follows for step in running):
            console.print(
                "A stage that follows another is taken from the store after all if that one's result is as before."
            )
    for one in plan.offers:
        console.print(Text.assemble(f"{one.backend} makes ", plain(one.sentence)), soft_wrap=not console.is_terminal)
    for note in plan.notes:
        console.print(f"note: {note}")
    for line in plan.missing:
        console.print(Text(f"missing: {line}", "red"), soft_wrap=True)
