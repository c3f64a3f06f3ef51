"""``detpress bundle``: export an engine of a run as a bundle, a zip file for another machine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.config.keys import close_to, suggestion
from pipelines.execution.events import NullObserver
from pipelines.execution.paddle_python import workers_python
from pipelines.execution.runner import Runner, RunnerSettings
from pipelines.graph.bundle import bundle_node
from pipelines.runs.bundles import pack
from pipelines.runs.history import find_run
from pipelines.runs.remembered import require_state
from pipelines.store.local import Store
from pipelines.store.remote import open_store
from pipelines.system.arguments import Parser
from pipelines.system.files import require_place
from pipelines.system.output import say
from pipelines.system.units import size
from stages.artifacts import Bundle
from stages.errors import ExitCode, InputError

_KEYS = {"backend": "onnxruntime", "precision": "int8", "golden": "8", "layout": "", "out": ""}


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Make a bundle; its path is the last line on stdout."""
    parser = Parser(
        prog="detpress bundle",
        usage="detpress bundle [RUN] [backend=onnxruntime] [precision=int8] [golden=8] "
        "[layout=triton|ovms|deepstream|paddle_serving] [out=FILE] [--artifacts DIR]",
        description="Pack one engine of a run into a zip file, with all that it needs on another machine and what "
        "proves there that it works: golden images with what the engine finds in them, digests, versions. precision is "
        "the engine's variant, e.g. bf16 or int8_fp16_pm; layout adds a folder for Triton, OpenVINO Model Server, "
        "DeepStream or Paddle Serving.",
    )
    parser.add_argument("words", nargs="*", help="the run's id, its end or its folder (default: latest), and KEY=VALUE")
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    options = parser.parse_args(arguments)
    artifacts = Path(options.artifacts).resolve()
    given = dict(word.split("=", 1) for word in options.words if "=" in word)
    names = [word for word in options.words if "=" not in word] or ["latest"]
    if len(names) > 1 or (unknown := sorted(set(given) - set(_KEYS))):
        extra = names[1] if len(names) > 1 else unknown[0]
        meant = suggestion(close_to(extra, [*_KEYS]))
        raise InputError(f"{extra}: not understood{meant or '; see detpress bundle --help'}")
    _values(given)
    target, digest = make(find_run(names[0], artifacts).resolve(), artifacts, given)
    say(f"{size(target.stat().st_size)}, sha256 {digest}")
    print(target)
    return ExitCode.DONE


def make(folder: Path, artifacts: Path, given: Mapping[str, str]) -> tuple[Path, str]:
    """Pack an engine of the run in ``folder``: the path of the zip file and its sha256.

    Args:
        given: what was asked for, as on the command line: backend, precision, golden, layout, out.
    """
    values = _values(given)
    bundle = _make(folder, artifacts, values)
    out = Path(values["out"]) if values["out"] else None
    return pack(bundle, artifacts, folder.name, out, values["layout"])


def _values(given: Mapping[str, str]) -> dict[str, str]:
    """All that can be asked for. Raises InputError where it cannot be had, whatever the run."""
    values = {**_KEYS, **given}
    if not re.fullmatch("[0-9]{1,6}", values["golden"]) or int(values["golden"]) < 1:
        raise InputError(f"golden={values['golden']} does not fit; it is a number of images, 1 or more")
    if values["out"]:
        require_place(Path(values["out"]), "out=FILE")
    return values


def _make(folder: Path, artifacts: Path, values: dict[str, str]) -> Bundle:
    """Run the bundle stage on what the run left in the store."""
    state = require_state(folder)
    store = open_store(artifacts, state.get("store"))
    store.prepare()
    python = workers_python(state.get("paddle_python"))
    node = bundle_node(folder, store, values["backend"], values["precision"], int(values["golden"]), values["layout"])
    settings = RunnerSettings(seed=0, python=python)
    runner = Runner(Store(artifacts), NullObserver(), settings, logs=folder / "logs", run_id=folder.name)
    results = runner.run([node])
    for failure in results.failures.values():
        raise failure
    bundle = results.artifacts[node.id]
    assert isinstance(bundle, Bundle)
    return bundle
