"""``detpress bundle``, ``verify`` and ``predict``: an engine leaves, proves itself on another machine, and works."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pipelines import history
from pipelines.amounts import size
from pipelines.config_keys import close_to, suggestion
from pipelines.devices import Turns, device_of
from pipelines.events import NullObserver
from pipelines.nodes import Node
from pipelines.remote_store import open_store
from pipelines.runner import Runner
from pipelines.show import find_run
from pipelines.store import Store
from stages import backends
from stages.contract import Artifact, Bundle, Engine, sha256_of
from stages.errors import InputError
from stages.options import BundleOptions, NmsOptions

EXIT_DISAGREES = 3
_KEYS = {"backend": "onnxruntime", "precision": "int8", "golden": "8", "out": ""}
_DATED = (1980, 1, 1, 0, 0, 0)  # of every file in the zip, so that the same content is the same zip


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
    from stages.bundled import unpack
    from stages.verifying import verify as check

    with tempfile.TemporaryDirectory(prefix="detpress-") as folder:
        opened = unpack(options.bundle, Path(folder), digest=options.sha256)
        engine = opened.engine
        device = device_of(engine.options, backends.get(engine.backend).fingerprint())
        with Turns().timing(device, lambda message: print(message, file=sys.stderr)):
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
    from stages.bundled import unpack
    from stages.predicting import predict as run

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


def bundle_node(folder: Path, store: Store, backend: str, precision: str, golden: int) -> Node:
    """The bundle stage on what the run in ``folder`` left in the store.

    Raises:
        InputError: the run has no such engine.
        StoreError: what it left is gone.
    """
    state = history.read_state(folder)
    if state is None:
        raise InputError(f"{folder} has no run.json; name a run that `detpress runs` lists")
    stages = {name: s["entry"] for name, s in state["stages"].items() if s.get("entry")}
    built = [name.removeprefix("build.").replace(".", " ") for name in stages if name.startswith("build.")]
    if f"build.{backend}.{precision}" not in stages:
        raise InputError(
            f"{folder.name} has no engine for backend={backend} precision={precision}; "
            f"it has {', '.join(built) or 'none'}"
        )
    config = yaml.safe_load((folder / "config.yaml").read_text())
    engine = store.load(stages[f"build.{backend}.{precision}"])
    assert isinstance(engine, Engine)
    labeled = "labels.val" in stages
    inputs: dict[str, Artifact | None] = {
        "engine": engine,
        "exported": store.load(stages[f"export.{precision}"]),
        "labeled": store.load(stages["labels.val"]) if labeled else None,
        "images": None if labeled else store.load(stages["images.unlabeled"]),
    }
    options = BundleOptions(
        run_id=state["run_id"],
        model=config["model"]["name"],
        golden=golden,
        nms=NmsOptions(**config["accuracy"]["nms"]),
        promised=_promised(folder, backend, precision),
        hardware=state["hardware"],
        versions=state["versions"],
        requirements=["numpy", "opencv-python-headless", *backends.get(backend).fingerprint()],
        config={name: part for name, part in config.items() if name not in history.NOT_RESULTS},
    )
    return Node(
        id=f"bundle.{backend}.{precision}",
        stage="bundle",
        options=options,
        inputs=inputs,
        threads=int(engine.options.get("threads", 1)),
        fingerprint=backends.get(backend).fingerprint(),
    )


def pack(made: Bundle, artifacts: Path, run_id: str, target: Path | None = None) -> tuple[Path, str]:
    """Write the zip and a record that keeps `detpress gc` off what the run refers to; its path and sha256."""
    name = f"{run_id}-{made.backend}-{made.precision}"
    target = target or artifacts / "bundles" / f"{name}.zip"
    write_zip(made, target)
    digest = sha256_of(target)
    record = artifacts / "bundles" / f"{name}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    history.write_text(
        record, json.dumps({"run_id": run_id, "file": str(target.resolve()), "sha256": digest}, indent=1)
    )
    return target, digest


def _promised(folder: Path, backend: str, precision: str) -> dict[str, Any]:
    """What the run measured of this engine."""
    report = json.loads((folder / "report.json").read_text())
    for row in report["rows"]:
        if (row["backend"], row["precision"]) == (backend, precision) and row["latency"]:
            return {
                "map": row["map"],
                "map50": row["map50"],
                "median_ms": row["latency"]["runtime"]["median_ms"],
                "end2end_ms": row["latency"]["end2end"]["median_ms"],
            }
    return {}


def write_zip(made: Bundle, target: Path) -> None:
    """Write a bundle's folder as a zip; the same content is the same zip."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(made.files):
            entry = zipfile.ZipInfo(name, _DATED)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            with made.path(name).open("rb") as source, archive.open(entry, "w") as sink:
                while chunk := source.read(1 << 20):
                    sink.write(chunk)
    temporary.replace(target)


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
