"""Whether detpress understands a command line: it is parsed, composed and checked as ever, and then nothing is done."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import COMMANDS
from pipelines.commands import bundle, hydra_command, promote, size
from pipelines.commands.plan import plan_compress
from pipelines.config import reference
from pipelines.config.check import check_command
from pipelines.config.keys import leaf_paths
from pipelines.config.schema import PipelineConfig
from pipelines.system.arguments import Parser
from stages.errors import InputError
from tests.pipelines import small


class Understood(Exception):
    """The words were accepted; this ends the command before it does what they say."""


FILES = ("FILE", "l.pdparams", "ppyoloe_crn_l_300e_coco.pdparams", "mine.pdparams")
"""Checkpoints that the pages name."""


def named_files(folder: Path) -> None:
    """What the pages name, under those names: checkpoints, and ``DIR`` with labels, ``COCO`` as COCO 2017 unpacks."""
    for name in FILES:
        small.weights(folder, 0.0, "placeholder")
        (folder / "model.pdparams").replace(folder / name)
    for split, seed in (("train", 1), ("val", 2)):
        small.draw(folder / "DIR", split, 4, seed=seed)
        (folder / "COCO" / "annotations").mkdir(parents=True, exist_ok=True)
        (folder / "COCO" / "annotations" / f"instances_{split}2017.json").symlink_to(folder / "DIR" / f"{split}.json")
        (folder / "COCO" / f"{split}2017").symlink_to(folder / "DIR" / split)
    (folder / "mine").symlink_to(folder / "DIR")


def understand(words: Sequence[str]) -> None:
    """Raise what ``detpress WORDS`` would, if it refused them; InputError too where it would end in another way."""
    name, *rest = words
    if name in ("--help", "--version") and not rest:
        return
    if name not in COMMANDS:
        raise InputError(f"{name}: there is no such command")
    told = io.StringIO()
    with _harmless(), contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        try:
            code = importlib.import_module(COMMANDS[name].module).main(rest, False)
        except Understood as understood:
            _own_words(name, understood)
            return
        except SystemExit as stop:
            code = stop.code
    if name == "completion" and code == 0:  # has no parser, and only prints
        return
    raise InputError(f"{name} ended with {code}: {told.getvalue().strip()}")


@contextlib.contextmanager
def _harmless() -> Iterator[None]:
    """With parsers that accept or refuse, and end there."""
    parse = Parser.parse_args

    def parse_only(self: Parser, *arguments: Any, **more: Any) -> argparse.Namespace:
        raise Understood(parse(self, *arguments, **more))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parser, "parse_args", parse_only)
        patch.setattr(hydra_command, "run", _compose_only)
        yield


def _compose_only(name: str, arguments: Sequence[str], task: object, **more: Any) -> int:
    """`hydra_command.run` up to its task; of a compression also the plan, whose stages take their options."""
    hydra_command._register()
    flags = hydra_command._parse(name, arguments)
    if flags.topic:
        reference.help_on(flags.topic)
    elif flags.overrides:
        configs = check_command(hydra_command._command(flags, bool(more.get("finetune_only")))[0])
        if name == "compress" and configs[0].run.store is None:  # a bucket is not asked
            assert plan_compress(configs[0]).steps
    raise Understood(flags)


def _own_words(name: str, understood: Understood) -> None:
    """``KEY=VALUE`` words that the command itself looks at, behind its parser."""
    words = [word for word in getattr(understood.args[0], "words", None) or [] if "=" in word]
    keys = [word.partition("=")[0] for word in words]
    if name == "bundle":
        wrong = [key for key in keys if key not in bundle._KEYS]
    elif name == "promote":
        known = leaf_paths(PipelineConfig)
        wrong = [key for key in keys if not key.startswith(promote._SETTABLE) or key not in known]
    elif name == "size":
        own = [key.removeprefix("target.") for key in keys if key.startswith("target.")]
        wrong = [key for key in own if key not in size._KEYS]
        others = [word for word in words if not word.startswith("target.")]
        hydra_command.one("compress", ["experiment=demo", *others])
    else:
        return
    if wrong:
        raise InputError(f"{name}: there is no key {', '.join(wrong)}")
