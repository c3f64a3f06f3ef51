"""``detpress import-config FILE``: a recipe of FastDeploy or PaddleSlim's ACT as arguments of ``detpress compress``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.config.recipe.overrides import command_line, experiment
from pipelines.config.recipe.translate import METHODS, translate
from pipelines.system.arguments import Parser
from pipelines.system.files import write_text
from pipelines.system.output import say
from pipelines.system.slug import slug
from stages.errors import ExitCode, InputError
from stages.outside.files import read_text


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Print the command line on stdout, what was not taken and what is missing on stderr; returns the exit code."""
    parser = Parser(
        prog="detpress import-config",
        description="Turn a recipe of `fastdeploy compress` or of PaddleSlim's auto compression into a command line "
        "(stdout). On stderr: each key that was not taken, and why, and what still has to be given.",
    )
    parser.add_argument("file", type=Path, help="the recipe's YAML file")
    parser.add_argument(
        "--method", choices=METHODS, help="as of `fastdeploy compress`; by default what the file has sections for"
    )
    parser.add_argument(
        "--reader", type=Path, metavar="FILE", help="PaddleDetection's reader; default: the one that the recipe names"
    )
    parser.add_argument(
        "--write", type=Path, metavar="FOLDER", help="also write it as FOLDER/experiment/NAME.yaml, for --config-dir"
    )
    options = parser.parse_args(arguments)
    found = translate(options.file, method=options.method, reader=options.reader)
    command = command_line(found)
    if options.write is not None:
        name = slug(options.file.stem)
        _write(options.write / "experiment" / f"{name}.yaml", experiment(found, options.file.name, name))
        say(f"written: detpress compress --config-dir {options.write} experiment={name}")
    for text in found.left:
        say(f"not taken: {text}")
    for text in found.missing:
        say(f"still to be given: {text}")
    print(command)
    return ExitCode.DONE


def _write(file: Path, text: str) -> None:
    """A file that says something else is not overwritten."""
    try:
        if file.exists() and read_text(file) != text:
            raise InputError(f"{file} is there and says something else; remove it, or name another folder")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
    except OSError as error:
        raise InputError(f"{file} cannot be written ({error.strerror}); name another folder") from error
