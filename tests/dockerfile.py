"""What the tests need to read of a Dockerfile, and to execute of it without a builder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM = ("apt-get", "groupadd", "useradd", "install -d")
"""Commands that change the system they run on: a step with one of them is left out."""


@dataclass
class Stage:
    """From one FROM to the next: its name, what it begins with, and its instructions as (word, text)."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, word: str) -> list[str]:
        return [text for one, text in self.steps if one == word]


def read(path: Path) -> tuple[dict[str, str | None], list[Stage]]:
    """The arguments before the first FROM with their defaults, and the stages in their order."""
    arguments: dict[str, str | None] = {}
    stages: list[Stage] = []
    for word, text in _instructions(path.read_text()):
        if word == "FROM":
            base, _, name = text.partition(" AS ")
            stages.append(Stage(base, name))
        elif not stages:
            assert word == "ARG", f"{word} before FROM"
            name, equals, default = text.partition("=")
            arguments[name] = default if equals else None
        else:
            stages[-1].steps.append((word, text))
    return arguments, stages


def line_of(stages: list[Stage], target: str) -> list[Stage]:
    """A target and what it begins with, the first one first."""
    named = {stage.name: stage for stage in stages}
    found = [named[target]]
    while found[0].base in named:
        found.insert(0, named[found[0].base])
    return found


def execute(stages: list[Stage], target: str, context: Path, root: Path, python: Path, left_out: list[str]) -> None:
    """Run the COPY and RUN of a target, and of the stages that it copies from, with ``root`` in place of ``/``.

    All stages share the root, so a copy between two only has to find what it copies. What names the system
    (``SYSTEM``) is not run but put into ``left_out``.
    """
    done: list[str] = []
    programs = root / "usr/local/bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(python)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment["PATH"] = f"{programs}:/usr/bin:/bin"

    def build(name: str) -> None:
        if name in done:
            return
        done.append(name)
        folder = root
        for stage in line_of(stages, name):
            for word, text in stage.steps:
                if word == "WORKDIR":
                    folder = root / text.lstrip("/")
                    folder.mkdir(parents=True, exist_ok=True)
                elif word == "COPY":
                    _copy(text, context, folder, root, build)
                elif word == "RUN" and any(command in text for command in SYSTEM):
                    left_out.append(text)
                elif word == "RUN":
                    command = re.sub(r"(?<![\w./*])/(?=(?:src|build|own|wheels|opt)\b)", f"{root}/", text)
                    ran = subprocess.run(
                        ["/bin/sh", "-euc", command], cwd=folder, env=environment, capture_output=True, text=True,
                        timeout=1500,
                    )  # fmt: skip
                    assert ran.returncode == 0, f"{command}\n{ran.stdout[-1000:]}\n{ran.stderr[-2000:]}"

    build(target)


def _copy(text: str, context: Path, folder: Path, root: Path, build: object) -> None:
    words = text.split()
    *sources, target = [word for word in words if not word.startswith("--")]
    place = root / target.lstrip("/") if target.startswith("/") else folder / target
    (origin,) = [word.removeprefix("--from=") for word in words if word.startswith("--from=")] or [""]
    if origin:
        assert callable(build)
        build(origin)
        (source,) = sources
        found = root / source.lstrip("/")
        assert found.exists(), f"{origin} has no {source}"
        if found.resolve() != place.resolve():
            shutil.copytree(found, place, dirs_exist_ok=True, symlinks=True)
        return
    for source in sources:
        found = context / source
        if found.is_dir():
            shutil.copytree(found, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found, place / found.name)


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    plain = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", "", plain).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()
