"""The code that each stage runs, as hashes beside its version: ``python -m tests.stages.versions [--accept]``.

A stage's ``version`` is part of the key of its results and is raised by hand. Forgotten, it leaves results of the old
code in every store. So the code is hashed and compared with ``versions.json``; whoever changes the code says by that
file, which is reviewed with it, that the version was raised or that results stay as they are.

A stage's code is its module and what that imports of ``stages``, also inside functions, the programs it names
(``"stages.latency.engine_process"``) and the files beside it that it names (templates). The hash is of the syntax tree:
comments, docstrings, type annotations and layout are nothing. A backend is looked up by its name, which is an option;
so the code of each backend has a hash of its own, and stages that look one up name the backend that changed. Left out
is (``_NEUTRAL``), so that nobody gets used to accepting, what everything imports and what can hardly change a result
without a key or the stage's own code changing too.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stages import backends
from stages.catalog import STAGES, stage_class

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("versions.json")
COMMAND = "make accept-versions"

_BACKENDS = "stages.backends"
_NEUTRAL = {
    "stages.catalog": "where stages are",
    _BACKENDS: "where backends are",
    "stages.contract": "what a stage is; computes keys only",
    "stages.errors": "messages and exit codes",
    "stages.artifacts": "fields, which the stage that fills them in has to name; digests, which are in keys",
}
"""Modules that are no stage's code, and why not."""
_TYPES = ("annotation", "returns")  # parts of the syntax tree
_LENGTH = 12  # hex digits


class Source:
    """The modules under ``root/stages``: what each needs, and a hash of each."""

    def __init__(self, root: Path) -> None:
        trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted((root / "stages").rglob("*.py"))}
        self.trees = {
            ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): tree
            for path, tree in trees.items()
        }
        """Dotted name -> syntax tree."""
        self.folders = dict(zip(self.trees, (path.parent.relative_to(root).as_posix() for path in trees), strict=True))
        others = (p for p in (root / "stages").rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc"))
        self.data = {p.relative_to(root).as_posix(): p.read_bytes() for p in others}
        """Path of what is no Python -> its content."""
        self.needs = cache(self._needs)
        self.hash = cache(self._hash)

    def closure(self, module: str) -> set[str]:
        """``module`` and all that it needs, the neutral ones included."""
        reached: set[str] = set()
        open_ = [module]
        while open_:
            name = open_.pop()
            if name not in reached:
                reached.add(name)
                if not _is_neutral(name):
                    open_ += self.needs(name)
        return reached

    def counted(self, modules: Iterable[str]) -> set[str]:
        """Those whose code counts."""
        return {m for m in modules if not _is_neutral(m) and self.hash(m)}

    def _needs(self, module: str) -> set[str]:
        """What ``module`` imports or names, and the packages around those, whose own code runs first."""
        if module in self.data:
            return set()
        named = set(_named(self.trees[module], self.trees))
        around = {name.rsplit(".", i)[0] for name in named for i in range(1, name.count("."))}
        texts = {node.value for node in ast.walk(self.trees[module]) if isinstance(node, ast.Constant)}
        beside = {f"{self.folders[module]}/{text}" for text in texts if isinstance(text, str)}
        read = {file for file in self.data if not beside.isdisjoint([file, *map(str, Path(file).parents)])}
        return named | (around & self.trees.keys() - {_BACKENDS}) | read

    def _hash(self, module: str) -> str:
        """Of the syntax tree, or of a file's bytes; empty for a module of nothing but a docstring."""
        if module in self.data:
            return hashlib.sha256(self.data[module]).hexdigest()[:_LENGTH]
        plain = _plain(self.trees[module])
        return _digest(plain) if len(plain) > 1 else ""


def _is_neutral(module: str) -> bool:
    """Whether a module is no stage's code. Options are not: their values are in the key, and what their closed lists
    name (a loss) is reached by the stage that looks it up."""
    return module in _NEUTRAL or "options" in module.split(".")


def _named(node: ast.AST, known: Mapping[str, ast.AST]) -> Iterator[str]:
    """The ``known`` modules that a tree imports, or names in a string: ``module`` or ``module:attribute``."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in known)
    elif isinstance(node, ast.ImportFrom):
        named = (f"{node.module}.{alias.name}" for alias in node.names)
        yield from {name if name in known else str(node.module) for name in named} & known.keys()
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.partition(":")[0] in known:
        yield node.value.partition(":")[0]
    for child in ast.iter_child_nodes(node):
        yield from _named(child, known)


def _plain(node: Any) -> Any:
    """A syntax tree as lists, the same for all Pythons.

    Fields that are empty are left out, of which later Pythons have more; so are strings that stand for themselves
    (docstrings, of attributes too), and the empty parts that some Pythons see at the end of a format (``{x:{width}}``).
    """
    if isinstance(node, list):
        return [_plain(inside) for inside in node if not _is_text(inside)]
    if isinstance(node, ast.JoinedStr):
        return ["JoinedStr", [_plain(part) for part in node.values if getattr(part, "value", None) != ""]]
    if isinstance(node, ast.Constant):
        return ["Constant", type(node.value).__name__, repr(node.value)]
    if isinstance(node, ast.AST):
        fields = {name: _plain(value) for name, value in ast.iter_fields(node) if name not in _TYPES}
        return [type(node).__name__, *([name, value] for name, value in fields.items() if value not in (None, []))]
    return node


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:_LENGTH]


@dataclass(frozen=True)
class Code:
    """What stages run, module by module."""

    versions: Mapping[str, int]
    stages: Mapping[str, set[str]]
    """Stage -> its modules, without those of backends."""
    on_backends: set[str]
    """Stages that look a backend up."""
    backends: Mapping[str, set[str]]
    hashes: Mapping[str, str]
    """Module -> hash."""

    def listed(self) -> dict[str, Any]:
        """As ``versions.json`` has it."""
        own = {name: {"version": self.versions[name], "code": self._of(mods)} for name, mods in self.stages.items()}
        return {
            "stages": own,
            "backends": {name: self._of(modules) for name, modules in self.backends.items()},
            "modules": dict(sorted(self.hashes.items())),
        }

    def _of(self, modules: Iterable[str]) -> str:
        return _digest(sorted([name, self.hashes[name]] for name in modules))


def code(
    source: Source, stages: Mapping[str, str], backend_names: Mapping[str, str], versions: Mapping[str, int]
) -> Code:
    """The code as it is.

    Args:
        stages, backend_names: name -> ``module:Class``, or ``module``.
        versions: of the stages.
    """
    whole = {name: source.closure(where.partition(":")[0]) for name, where in stages.items()}
    own = {name: source.counted(modules) for name, modules in whole.items()}
    of_backends = {
        name: source.counted(source.closure(where.partition(":")[0])) for name, where in backend_names.items()
    }
    used = set().union(*own.values(), *of_backends.values())
    asking = {name for name, modules in whole.items() if _BACKENDS in modules}
    return Code(versions, own, asking, of_backends, {name: source.hash(name) for name in used})


def current() -> Code:
    """The code of this checkout."""
    versions = {name: int(stage_class(name).version) for name in STAGES}
    where = {name: type(backends.get(name)).__module__ for name in backends.names()}
    own = {name: module for name, module in where.items() if module.startswith(f"{_BACKENDS}.")}
    return code(Source(ROOT), {name: entry.where for name, entry in STAGES.items()}, own, versions)


def differences(before: Mapping[str, Any], now: Code) -> list[str]:
    """What is not as listed, a line for each stage, and for each backend with the stages that run it."""
    listed = now.listed()
    found: list[str] = []
    for name in sorted({*before["stages"], *listed["stages"]}):
        old, new = before["stages"].get(name), listed["stages"].get(name)
        if old == new:
            continue
        if old is None or new is None:
            found.append(f"{name}: {'new' if old is None else 'gone'}")
        elif old["version"] != new["version"]:
            found.append(f"{name}: its version is {new['version']}, {old['version']} is listed")
        else:
            found.append(f"{name} (version {new['version']}): {_changed(before, now, now.stages[name])}")
    return found + _differing_backends(before, now, listed["backends"])


def _differing_backends(before: Mapping[str, Any], now: Code, listed: Mapping[str, str]) -> list[str]:
    """The backends that are not as listed, those with the same difference in one line."""
    alike: dict[str, list[str]] = {}
    asking = ", ".join(f"{name} (version {now.versions[name]})" for name in sorted(now.on_backends))
    for name in sorted({*before["backends"], *listed}):
        if name not in before["backends"] or name not in listed:
            alike.setdefault("new" if name in listed else "gone", []).append(name)
        elif before["backends"][name] != listed[name]:
            changed = _changed(before, now, now.backends[name])
            alike.setdefault(f"{changed}; run by {asking}", []).append(name)
    return [f"backend {', '.join(names)}: {text}" for text, names in alike.items()]


def _changed(before: Mapping[str, Any], now: Code, modules: Iterable[str]) -> str:
    listed = before["modules"]
    changed = [f"{m} changed" for m in sorted(modules) if m in listed and listed[m] != now.hashes[m]]
    new = [f"{m} is new" for m in sorted(modules) if m not in listed]
    return ", ".join([*changed, *new]) or "it runs other modules than before"


def message(lines: Iterable[str]) -> str:
    """What to do about differences."""
    return "\n".join(
        [
            f"The code of stages is not what {LIST.relative_to(ROOT)} lists:",
            *(f"  {line}" for line in lines),
            "Raise `version` in the class of each of these stages whose results it changes, so that old ones are not",
            f"taken for new ones. Then, or if no result changes, `{COMMAND}`, and commit the list with the code.",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the differences (1 if there are any), or write the list."""
    parser = argparse.ArgumentParser(prog="python -m tests.stages.versions", description="Code of stages, and versions")
    parser.add_argument("--accept", action="store_true", help="list the code as it is")
    options = parser.parse_args(arguments)
    now = current()
    try:
        before = json.loads(LIST.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # none yet, or one with a merge's marks in it
        before = {"stages": {}, "backends": {}, "modules": {}}
    lines = differences(before, now)
    if options.accept:
        LIST.write_text(json.dumps(now.listed(), indent=1) + "\n", encoding="utf-8")
        print("\n".join(["accepted:", *lines]) if lines else "nothing to accept")
        return 0
    if lines:
        print(message(lines), file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
