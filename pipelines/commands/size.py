"""``detpress size``: which model and input size reach a latency on this machine, before anything is trained."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pipelines.commands import hydra_command
from pipelines.config.compose import Command, group_choices, hydra_for
from pipelines.config.keys import close_to, suggestion
from pipelines.config.schema import PipelineConfig
from pipelines.graph.sizes import Search, candidates
from pipelines.runs.tables import WIDTH, print_list, stdout_console
from pipelines.runs.verdict import print_lines, print_next
from pipelines.size import Target, run_size
from pipelines.system.arguments import Parser
from stages.errors import ExitCode, InputError
from stages.numerics.variants import VARIANTS, title_of
from stages.options.model import STRIDE
from stages.report import marks

_PREFIX = "target."
_KEYS = {
    "latency_ms": "",
    "backend": "onnxruntime",
    "precision": "int8",
    "mode": "runtime",
    "models": "",
    "sizes": "",
    "engines": "8",
}
SIZES = range(256, 641, STRIDE)
"""Pixels of a side, where none are named."""
_IMAGES = 8
"""Drawn images that the ranges are observed on: they change no time, only what is found."""


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Look for it; prints a table and the command to continue with."""
    parser = Parser(
        prog="detpress size",
        usage="detpress size target.latency_ms=20 [target.backend=onnxruntime] [target.precision=int8] "
        "[target.mode=runtime|end2end] [target.models=A,B] [target.sizes=320,416] [target.engines=8] [KEY=VALUE ...]",
        description="Which model and input size reach a latency on this machine: a few engines with random weights are "
        "built and timed, the others are predicted from how much work they are. Nothing is trained or scored. Other "
        "KEY=VALUE are those of `detpress compress`, e.g. backend.onnxruntime.threads=2 or latency=default.",
    )
    parser.add_argument("words", nargs="*", help="target.KEY=VALUE, and overrides of `detpress compress`")
    words = parser.parse_args(arguments).words
    given = dict(word.removeprefix(_PREFIX).split("=", 1) for word in words if word.startswith(_PREFIX) and "=" in word)
    others = [word for word in words if not (word.startswith(_PREFIX) and "=" in word)]
    if unknown := sorted(set(given) - set(_KEYS)):
        meant = suggestion(close_to(unknown[0], [*_KEYS]))
        raise InputError(f"{_PREFIX}{unknown[0]}: there is no such key{meant or '; see detpress size --help'}")
    values = {**_KEYS, **given}
    target = _target(values)
    sides = _sides(values["sizes"]) or list(SIZES)
    models = _models(values["models"])

    def composed(model: str, side: int) -> PipelineConfig:
        config, _ = hydra_command.one("compress", _overrides(model, side, target, others))
        config.backend[target.backend].variants = [
            target.precision
        ]  # a run would compare it with FP32's, which is built
        return config

    options = {name: composed(name, sides[-1]).model for name in models}
    every = candidates(options, sides)
    if not every:
        raise InputError(f"{_PREFIX}models: how much work they are is known of none of {', '.join(models)}")
    command = ["detpress", "size", *words]
    found = run_size(target, every, lambda one: composed(one.model, one.side), command=command)
    _print(found, target, others)
    return ExitCode.DONE


def _target(values: dict[str, str]) -> Target:
    """What is asked for. Raises InputError for what cannot be."""
    if not values["latency_ms"]:
        raise InputError(f"{_PREFIX}latency_ms is not given; say how fast it has to be, e.g. {_PREFIX}latency_ms=20")
    latency = _number(values, "latency_ms", "a number of milliseconds, more than 0")
    engines = _number(values, "engines", "a number of engines, 2 or more")
    if engines < 2 or engines != int(engines):
        raise InputError(f"{_PREFIX}engines={values['engines']} does not fit; it is a number of engines, 2 or more")
    precision, mode = values["precision"], values["mode"]
    if precision not in VARIANTS:
        raise InputError(f"{_PREFIX}precision={precision}: there is no such variant; there are {', '.join(VARIANTS)}")
    if mode not in ("runtime", "end2end"):
        raise InputError(f"{_PREFIX}mode={mode} does not fit; it is runtime (the engine alone) or end2end")
    return Target(latency, values["backend"], precision, mode, int(engines))


def _number(values: dict[str, str], key: str, what: str) -> float:
    try:
        number = float(values[key])
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:  # no number is neither
        raise InputError(f"{_PREFIX}{key}={values[key]} does not fit; it is {what}")
    return number


def _sides(text: str) -> list[int]:
    words = [word for word in text.strip("[]").split(",") if word]
    if any(not word.isdecimal() or int(word) < STRIDE or int(word) % STRIDE for word in words):
        raise InputError(f"{_PREFIX}sizes={text} does not fit; these are pixels of a side, multiples of {STRIDE}")
    return sorted({int(word) for word in words})


def _models(text: str) -> list[str]:
    """The named ones, or all that there are."""
    with hydra_for(Command([])) as loader:
        there = group_choices(loader, "model")
    named = [word for word in text.strip("[]").split(",") if word]
    if unknown := [name for name in named if name not in there]:
        meant = suggestion(close_to(unknown[0], there)) or f" (there are {', '.join(there)})"
        raise InputError(f"{_PREFIX}models={text}: there is no model {unknown[0]}{meant}")
    return named or there


def _overrides(model: str, side: int, target: Target, others: Sequence[str]) -> list[str]:
    """The compression of a candidate: random weights, drawn images, one variant, quick timing."""
    return [
        *(f"model={model}", "data=shapes", "compression=ptq", f"backend=[{target.backend}]", "latency=quick"),
        *("agreement=none", "tracking=none"),
        *others,
        *("model.random_weights=true", f"model.input_size=[{side},{side}]"),
        *(f"compression.images={_IMAGES}", f"compression.calibration_images={_IMAGES}"),
        f"data.shapes.unlabeled={_IMAGES}",
    ]


def _print(found: Search, target: Target, others: Sequence[str]) -> None:
    console = stdout_console(WIDTH)
    rows = []
    for candidate, ms in found.largest():
        timing = found.timed.get(candidate)
        reached = "yes" if ms <= target.latency_ms else "no"
        said = f"{ms:.1f}{marks.star(timing.verdict)}" if timing else f"about {ms:.1f}"
        rows.append(
            [
                candidate.model,
                f"{candidate.side} x {candidate.side}",
                f"{candidate.multiply_adds / 1e9:.2f}",
                said,
                reached,
            ]
        )
    print_list(["Model", "Input", "GMACs", "ms", f"{target.latency_ms:g} ms"], rows, console)
    console.print()
    lines = [_verdict(found, target), f"Timed with random weights: {len(found.timed)}. About: predicted "
             "from these by multiply-adds."]  # fmt: skip
    if disturbed := [one for one, timing in found.timed.items() if not marks.is_valid(timing.verdict)]:
        why = marks.why(found.timed[disturbed[0]].verdict)
        lines.append(f"{marks.LEGEND} ({why}); run it again on a quiet machine.")
    print_lines(lines, console)
    best = found.best
    if best is not None:
        step = [
            "detpress", "compress", f"model={best.model}", f"model.input_size=[{best.side},{best.side}]",
            f"backend=[{target.backend}]", f"gate.max_{'latency' if target.mode == 'runtime' else 'end2end'}_ms="
            f"{target.latency_ms:g}", "finetune.enabled=true", "data=coco_folder", "data.root=DIR",
            *(word for word in others if word.startswith("backend.")),
        ]  # fmt: skip
        print_next([(shlex.join(step), "train, compress and measure it on your images")], console)


def _verdict(found: Search, target: Target) -> str:
    """Which one, or that none does."""
    where = f"{title_of(target.precision)} on {target.backend}"
    best = found.best
    if best is None:
        smallest, timing = next(iter(found.timed.items()))
        return (
            f"Nothing reaches {target.latency_ms:g} ms in {where}: the smallest, {smallest.model} at {smallest.side} x "
            f"{smallest.side}, takes {timing.ms:.1f} ms. Name smaller sizes (target.sizes=128,160,192), more threads "
            "or another backend."
        )
    said = (
        f"{best.model} at {best.side} x {best.side} reaches {target.latency_ms:g} ms in {where}: "
        f"{found.timed[best].ms:.1f} ms, timed."
    )
    if found.fails < len(found.candidates):
        beyond = found.candidates[found.fails]
        timing = found.timed[beyond]
        return f"{said} {beyond.model} at {beyond.side} x {beyond.side} does not: {timing.ms:.1f} ms."
    return f"{said} It is the largest there is."
