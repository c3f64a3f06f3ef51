"""``detpress bundle``, ``verify`` and ``predict``: an engine leaves, proves itself on another machine, and works."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.config.keys import close_to, suggestion
from pipelines.execution.events import NullObserver
from pipelines.execution.runner import Runner
from pipelines.graph.bundle import bundle_node
from pipelines.runs import history
from pipelines.runs.bundles import pack
from pipelines.runs.history import find_run
from pipelines.store.local import Store
from pipelines.store.remote import open_store
from pipelines.system.devices import DeviceLocks, device_of
from pipelines.system.units import size
from stages import backends
from stages.artifacts import Bundle
from stages.errors import InputError

EXIT_DISAGREES = 3
_KEYS = {"backend": "onnxruntime", "precision": "int8", "golden": "8", "out": ""}


def bundle(arguments: Sequence[str]) -> int:
    """Make a bundle; its path is the last line on stdout."""
    parser = argparse.ArgumentParser(
        prog="detpress bundle",
        usage="detpress bundle [RUN] [backend=onnxruntime] [precision=int8] [golden=8] [out=FILE] [--artifacts DIR]",
        description="Pack one engine of a run into a zip file, with all that it needs on another machine and what "
        "proves there that it works: golden images with what the engine finds in them, digests, versions.",
    )
    parser.add_argument("words", nargs="*", help="the run's id or folder (default: latest), and KEY=VALUE")
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    options = parser.parse_args(arguments)
    artifacts = Path(options.artifacts).resolve()
    given = dict(word.split("=", 1) for word in options.words if "=" in word)
    names = [word for word in options.words if "=" not in word] or ["latest"]
    if len(names) > 1 or (unknown := sorted(set(given) - set(_KEYS))):
        extra = names[1] if len(names) > 1 else unknown[0]
        meant = suggestion(close_to(extra, [*_KEYS]))
        raise InputError(f"{extra}: not understood{meant or '; see detpress bundle --help'}")
    values = {**_KEYS, **given}
    if not values["golden"].isdigit() or int(values["golden"]) < 1:
        raise InputError(f"golden={values['golden']} does not fit; it is a number of images, 1 or more")
    folder = find_run(names[0], artifacts).resolve()
    made = _make(folder, artifacts, values)
    target, digest = pack(made, artifacts, folder.name, Path(values["out"]) if values["out"] else None)
    print(f"{size(target.stat().st_size)}, sha256 {digest}", file=sys.stderr)
    print(target)
    return 0


def verify(arguments: Sequence[str]) -> int:
    """Check a bundle here; 0 if it does what it promises, 2 if it was changed, 3 if it finds something else."""
    parser = argparse.ArgumentParser(
        prog="detpress verify",
        description="Check a bundle on this machine: every file's digest, agreement on the golden images, quick mAP "
        "and latency. Exit codes: 0 as promised, 2 changed or not runnable here, 3 it finds other boxes.",
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--sha256", metavar="HEX", help="digest that the zip file has to have, as `bundle` printed it")
    parser.add_argument(
        "--min-agreement",
        type=float,
        default=0.95,
        metavar="X",
        help="least share of equal boxes (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(arguments)
    from stages.bundle.contents import unpack
    from stages.bundle.verify import verify as check

    with tempfile.TemporaryDirectory(prefix="detpress-") as folder:
        opened = unpack(options.bundle, Path(folder), digest=options.sha256)
        engine = opened.engine
        device = device_of(engine.options, backends.get(engine.backend).fingerprint())
        with DeviceLocks().timing(device, lambda message: print(message, file=sys.stderr)):
            result = check(opened)
        result["ok"] = result["agreement"] >= options.min_agreement
        if options.json:
            print(json.dumps({"schema_version": 1, "bundle": str(options.bundle), **result}))
        else:
            _tell(opened.record, result)
    return 0 if result["ok"] else EXIT_DISAGREES


def predict(arguments: Sequence[str]) -> int:
    """Detections of images: JSON on stdout, pictures in a folder."""
    parser = argparse.ArgumentParser(
        prog="detpress predict",
        description="Run a bundle's engine on images: one line of JSON each on stdout, the boxes drawn in --out.",
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument(
        "--threshold", type=float, metavar="X", help="least score (default: the bundle's draw_threshold)"
    )
    parser.add_argument("--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--no-pictures", action="store_true", help="JSON only")
    options = parser.parse_args(arguments)
    from stages.bundle.contents import unpack
    from stages.bundle.predict import predict as run

    with tempfile.TemporaryDirectory(prefix="detpress-") as folder:
        opened = unpack(options.bundle, Path(folder))
        threshold = opened.record["draw_threshold"] if options.threshold is None else options.threshold
        for line in run(opened, options.images, None if options.no_pictures else options.out, threshold):
            print(json.dumps(line), flush=True)
    return 0


def _make(folder: Path, artifacts: Path, values: dict[str, str]) -> Bundle:
    """Run the bundle stage on what the run left in the store."""
    store = open_store(artifacts, (history.read_state(folder) or {}).get("store"))
    store.prepare()
    node = bundle_node(folder, store, values["backend"], values["precision"], int(values["golden"]))
    runner = Runner(Store(artifacts), NullObserver(), seed=0, logs=folder / "logs", run_id=folder.name)
    results = runner.run([node])
    for failure in results.failures.values():
        raise failure
    made = results.artifacts[node.id]
    assert isinstance(made, Bundle)
    return made


def _tell(record: Any, result: dict[str, Any]) -> None:
    print(f"{record['model']}, {record['precision']} for {record['backend']}, from run {record['run_id']}")
    print("digests         every file is as it was made")
    share, count = result["agreement"], result["expected"]
    mark = "as promised" if result["ok"] else "NOT as promised"
    print(f"golden images   {100 * share:.1f} % of {count} boxes agree, {mark}")
    if result["map"] is not None:
        print(f"quick mAP       {result['map']:.1f}, promised {result['promised_map']:.1f} (golden images only)")
    promised = result["promised_ms"]
    told = "" if promised is None else f", promised {promised:.2f} ms on {result['promised_on']}"
    print(f"latency         {result['median_ms']:.2f} ms{told}")
