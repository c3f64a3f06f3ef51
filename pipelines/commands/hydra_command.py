"""A sub-command whose arguments are Hydra's: checked as a whole first, then run by Hydra."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from pipelines.commands.completion import hydra_words
from pipelines.config import resolvers, schema
from pipelines.config.check import check_command
from pipelines.config.compose import CONFIG_MODULE, VERSION_BASE, Command, group_choices
from pipelines.config.literal import as_typed
from pipelines.config.load import load
from pipelines.config.schema import PipelineConfig
from pipelines.execution import ray_sweep
from pipelines.runs import trial
from pipelines.system.arguments import Parser
from pipelines.system.failures import tell
from pipelines.system.output import verbose
from pipelines.system.redact import redact_text
from stages.errors import ExitCode, InputError

Task = Callable[[PipelineConfig, list[str]], int]
"""Runs one config, given also the command to repeat it, and returns the exit code."""

_SHELL_ONLY = ("multirun", "help", "hydra_help", "cfg", "info", "resolve", "shell_completion")
_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


class _Parser(Parser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def run(
    name: str,
    arguments: Sequence[str],
    task: Task,
    *,
    debug: bool = False,
    finetune_only: bool = False,
    own_flags: Sequence[str] = (),
) -> int:
    """Run the sub-command ``name`` on ``arguments`` (Hydra's flags and overrides, in any order).

    Args:
        own_flags: flags of the sub-command, not of Hydra: the jobs of a sweep on other machines get them too.

    Returns:
        The exit code; of a sweep, see `worst`.

    Raises:
        InputError: with every problem (a ConfigError, where it is the config), before anything ran.
        Exception: what ``task`` raised. In a sweep, a job's error is printed and the next job begins.
    """
    _register()
    flags = _parse(name, arguments)
    if flags.topic:
        return _explain(flags.topic, debug=debug)
    if flags.shell_completion:
        print(hydra_words(" ".join(flags.overrides), os.environ.get("COMP_LINE", "")), end="")
        return ExitCode.DONE
    command, folders = _command(flags, finetune_only)
    shows = bool(flags.help or flags.cfg or flags.info)
    configs: list[PipelineConfig] = []
    if not flags.hydra_help:
        configs = check_command(command, inputs=not shows)
    codes: list[int] = []
    errors: list[Exception] = []

    plain = not (shows or flags.multirun or flags.hydra_help)
    if plain and not any("hydra" in override.partition("=")[0] for override in flags.overrides):
        # Checking it has composed it already; Hydra itself would do so twice more, and then only call us back.
        return task(configs[0], ["detpress", name, *folders, *flags.overrides])

    def job(config: DictConfig) -> object:
        overrides = list(HydraConfig.get().overrides.task)
        try:
            codes.append(task(load(config, finetune_only=finetune_only), ["detpress", name, *folders, *overrides]))
        except Exception as error:  # Hydra would print it in its own way; the caller prints it instead
            if not flags.multirun:
                errors.append(error)
            else:
                codes.append(tell(error, debug=debug))
                trial.tell(trial.Measured(trial.FAILED, str(error).strip().partition("\n")[0]))
        return trial.taken()

    debugging = [*(["--debug"] if debug else []), *(["--verbose"] if verbose() else [])]
    printing = _redacted() if flags.cfg or flags.info else contextlib.nullcontext()
    with printing, ray_sweep.sweep([name, *own_flags, *debugging, *folders]) as launched:
        _with_hydra(name, flags, job)
        codes += launched.codes
    if errors:
        raise errors[0]
    return worst(codes) if launched.code is None else launched.code


def one(name: str, arguments: Sequence[str], *, finetune_only: bool = False) -> tuple[PipelineConfig, list[str]]:
    """The config that `run` would hand to its task, and the command to repeat it, for a call from Python.

    Raises:
        InputError: with every problem (a ConfigError, where it is the config), or the arguments are those of a sweep or
            only show something.
    """
    _register()
    flags = _parse(name, arguments)
    hydra_s = [override for override in flags.overrides if override.lstrip("+~").partition("=")[0].startswith("hydra")]
    others = [flag for flag in _SHELL_ONLY if getattr(flags, flag)]
    if others or flags.topic or hydra_s:
        word = hydra_s[0] if hydra_s else f"--{(others or ['help'])[0].replace('_', '-')}"
        raise InputError(f"{word} is for the command line; call once for each config (see detpress {name} --help)")
    command, folders = _command(flags, finetune_only)
    return check_command(command)[0], ["detpress", name, *folders, *flags.overrides]


def _register() -> None:
    schema.register()
    resolvers.register_resolvers()
    OmegaConf.register_new_resolver("choices", _choices, replace=True)


def _command(flags: argparse.Namespace, finetune_only: bool) -> tuple[Command, list[str]]:
    """What the flags ask for, and those among them that say where the config is."""
    flags.overrides = as_typed(flags.overrides, multirun=flags.multirun or "hydra.mode=MULTIRUN" in flags.overrides)
    command = Command(
        overrides=flags.overrides,
        multirun=flags.multirun,
        config_dir=flags.config_dir,
        config_path=flags.config_path,
        config_name=flags.config_name or "config",
        finetune_only=finetune_only,
    )
    return command, [f"--config-{k}={v}" for k in ("dir", "path", "name") if (v := getattr(flags, f"config_{k}"))]


@contextlib.contextmanager
def _redacted() -> Iterator[None]:
    """What Hydra prints of a config, without the secrets in it: such output ends up in tickets and logs."""
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            yield
    finally:
        print(redact_text(shown.getvalue()), end="")


def worst(codes: Sequence[int]) -> int:
    """One exit code for the jobs of a sweep: the largest that tells of a failure; 5 only if nothing changed in any."""
    changed = [code for code in codes if code != ExitCode.UNCHANGED]
    return max(changed or codes, default=ExitCode.DONE)


def finish(exit_code: int, result: Path | None) -> int:
    """Print where the result is, as the last line on stdout, for scripts; returns the exit code."""
    if result is not None:
        print(result, flush=True)
    return exit_code


def _with_hydra(name: str, flags: argparse.Namespace, job: Callable[[DictConfig], object]) -> None:
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra's own errors come as exceptions, not as text and exit code 1
    before = sys.argv
    sys.argv = [f"detpress {name}", *_for_hydra(flags), f"hydra/help={name}", *flags.overrides]
    try:
        hydra.main(config_path=f"pkg://{CONFIG_MODULE}", config_name="config", version_base=VERSION_BASE)(job)()
    finally:
        sys.argv = before


def _parse(name: str, arguments: Sequence[str]) -> argparse.Namespace:
    """Hydra's own flags. It takes them only before or after all overrides; here they may stand anywhere."""
    parser = _Parser(prog=f"detpress {name}", add_help=False)
    parser.add_argument("overrides", nargs="*")
    for flag in ("--hydra-help", "--resolve"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--run", "-r", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--shell-completion", "-sc", action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=_INFO)
    parser.add_argument("--package", "-p")
    parser.add_argument("--config-path", "-cp")
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("--config-dir", "-cd")
    rest, topic = _topic_apart(_info_apart(arguments))
    flags = parser.parse_intermixed_args(rest)
    flags.topic = topic
    if flags.resolve and not (flags.cfg or flags.help):
        parser.error("--resolve needs --cfg or --help")
    if sum(map(bool, (flags.run, flags.multirun, flags.cfg, flags.info, flags.shell_completion))) > 1:
        parser.error("only one of --run, --multirun, --cfg, --info and --shell-completion can be given")
    return flags


def _info_apart(arguments: Sequence[str]) -> list[str]:
    """``--info`` without a value of its own must not swallow the override behind it."""
    following = [*arguments[1:], ""]
    bare = [a in ("--info", "-i") and after not in _INFO for a, after in zip(arguments, following, strict=False)]
    return ["--info=all" if alone else a for a, alone in zip(arguments, bare, strict=True)]


def _topic_apart(arguments: Sequence[str]) -> tuple[list[str], str]:
    """The arguments without ``--help KEY``, and that key; an override behind ``--help`` is none."""
    rest, topic = list(arguments), ""
    for i, argument in enumerate(arguments):
        following = arguments[i + 1] if i + 1 < len(arguments) else ""
        if argument in ("--help", "-h") and following and "=" not in following and following[0] not in "-+~":
            rest[i : i + 2], topic = [], following
        elif argument.startswith("--help="):
            rest[i : i + 1], topic = [], argument.partition("=")[2]
        if topic:
            break
    return rest, topic


def _explain(topic: str, *, debug: bool) -> int:
    """Print what an option means. An unknown key is told here: no command has begun that could take it for its own."""
    from pipelines.config import reference

    try:
        print(reference.help_on(topic), end="")
    except InputError as error:
        return tell(error, debug=debug)
    return 0


def _for_hydra(flags: argparse.Namespace) -> list[str]:
    """The flags as Hydra's parser wants them; ``--name=value``, so that no override is taken for a value."""
    words: list[str] = []
    for name, value in vars(flags).items():
        flag = "--" + name.replace("_", "-")
        if name in ("overrides", "topic") or value in (None, False):
            continue
        words.append(flag if value is True else f"{flag}={value}")
    return words


def _choices(group: str) -> str:
    """``${choices:GROUP}`` of the help texts: what can be chosen, those of ``--config-dir`` among it."""
    names = ", ".join(group_choices(GlobalHydra.instance().config_loader(), group))
    return textwrap.fill(names, width=95, subsequent_indent=" " * 17)
