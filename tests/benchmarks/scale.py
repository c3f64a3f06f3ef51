"""Many images: ``make bench-scale``, or ``python -m tests.benchmarks.scale``. The last line is JSON.

Pictures are drawn, and hard links to them stand for a large data set: every link is read, decoded and scored. Two
commands with nothing in common score the demo's detector on the labelled ones, on one core (``threads=1``) and on all.

- ``collect_ratio``, ``collect_labeled_ratio``, ``accuracy_ratio``: seconds of the stage on one core / on all, the
  starts of the processes included. ``serial``, ``parallel``: seconds of every stage, of the whole command, and of
  processors.
- ``processor_ratio``: processor seconds of the whole command on one core / on all. Below 1, all cores do work that one
  does not. What others do at the same time moves it less than the ratios of seconds.
- ``ceiling``: images a second that a plain loop decodes in as many processes as there are cores, which share nothing,
  over those of one process: what these cores can give together. Virtual cores often share a real one, and all share
  their memory. ``accuracy_ceiling``: the same of a loop that runs the engine after each image, as ``accuracy`` does.
- ``same``: whether lists, labels and scores of both have the same digests.
- ``memory_mb``: the largest process of each. ``rerun_s``, ``plan_s``: the same command again, and `detpress plan`.
- ``disturbed``: others took more than a tenth of the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from stages.data.draw import Draw
from stages.options.data import ShapesOptions
from stages.processes.cores import allowed_cores
from tests.benchmarks.orchestrator import busy
from tests.conftest import ROOT
from tests.fakes import FakeContext

DRAWN = 200
"""Different pictures of a set; the rest are links to them."""
FOREIGN = 0.1
NODES = {"collect": "images.unlabeled", "collect_labeled": "labels.val", "accuracy": "accuracy.onnxruntime.fp32"}
"""What is compared -> its node in the graph."""
LOOP = """
import sys, time
import cv2
cv2.setNumThreads(1)
engine, seconds, *images = sys.argv[1:]
find = lambda: None
if engine:
    import numpy as np, onnxruntime
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(engine, settings, providers=["CPUExecutionProvider"])
    ones = {one.name: np.ones(one.shape, np.float32) for one in session.get_inputs()}
    find = lambda: session.run(None, ones)
    find()
print(flush=True)
sys.stdin.readline()
end, count = time.perf_counter() + float(seconds), 0
while time.perf_counter() < end:
    assert cv2.imread(images[count % len(images)]) is not None
    find()
    count += 1
print(count)
"""
"""Decodes images for some seconds, and runs an engine after each, if there is one."""


def data_set(folder: Path, unlabeled: int, labelled: int, size: int) -> None:
    """``unlabeled/``, ``val/`` and ``val.json`` in ``folder``."""
    counts = {"unlabeled": min(DRAWN, unlabeled), "val": min(DRAWN, labelled)}
    drawn = Draw(ShapesOptions(train=1, **counts, size=[size, size])).run(Draw.Inputs(), FakeContext(folder / "drawn"))
    for split, count in (("unlabeled", unlabeled), ("val", labelled)):
        sources = sorted((drawn.root / split).iterdir())
        (folder / split).mkdir()
        for number in range(count):
            source = sources[number % len(sources)]
            (folder / split / f"{number:06d}{source.suffix}").hardlink_to(source)
    coco = json.loads((drawn.root / "val.json").read_text())
    (folder / "val.json").write_text(json.dumps(repeated(coco, labelled)))


def repeated(coco: dict[str, Any], count: int) -> dict[str, Any]:
    """COCO's content for ``count`` images, which repeat those of ``coco`` in the order of their names."""
    images = sorted(coco["images"], key=lambda image: str(image["file_name"]))
    boxes: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in images}
    for annotation in coco["annotations"]:
        boxes[annotation["image_id"]].append(annotation)
    found: dict[str, Any] = {"images": [], "annotations": [], "categories": coco["categories"]}
    for number in range(count):
        image = images[number % len(images)]
        name = f"{number:06d}{Path(image['file_name']).suffix}"
        found["images"].append({**image, "id": number, "file_name": name})
        for annotation in boxes[image["id"]]:
            found["annotations"].append({**annotation, "id": len(found["annotations"]) + 1, "image_id": number})
    return found


def command(folder: Path, name: str, artifacts: Path, unlabeled: int, *more: str) -> float:
    """Wall seconds of a command on the data set in ``folder``."""
    own = [
        "experiment=demo", "backend=[onnxruntime]", "compression.method=none", f"compression.images={unlabeled}",
        "data.kind=coco_folder", f"data.val_annotations={folder / 'val.json'}", f"data.val_images={folder / 'val'}",
        f"data.unlabeled_images={folder / 'unlabeled'}", "latency=quick", "latency.runs=10", "latency.warmup=1",
        "run.reuse_latency=true", "tracking.enabled=false", f"run.artifacts={artifacts}",
    ]  # fmt: skip
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", name, *own, *more], cwd=folder, capture_output=True, text=True
    )
    if done.returncode not in (0, 3):  # 3: a gate
        raise SystemExit(f"{name} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return time.perf_counter() - started


def ceiling(images: list[Path], cores: int, engine: str = "", *, rounds: int = 4, seconds: float = 3.0) -> float:
    """How many times as many images ``cores`` processes go through together as one does alone, the two in turns.

    Args:
        engine: an ONNX file that is run after each image; none: they are decoded only.
    """
    alone = together = 0
    for _ in range(rounds):
        alone += looped(images, 1, seconds, engine)
        together += looped(images, cores, seconds, engine)
    return together / alone


def looped(images: list[Path], count: int, seconds: float, engine: str = "") -> int:
    """Images that ``count`` processes go through, which begin together."""
    command = [sys.executable, "-c", LOOP, engine, str(seconds), *map(str, images)]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()  # it is ready
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    return sum(int(child.communicate()[0]) for child in children)


def computed(artifacts: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Seconds of each node of a store, and the digests of the files of those that are compared."""
    seconds: dict[str, float] = {}
    files: dict[str, str] = {}
    for path in sorted(artifacts.rglob("entry.json")):
        record = json.loads(path.read_text())
        if "node" in record and "seconds" in record:
            seconds[record["node"]] = round(record["seconds"], 2)
            if record["node"] in NODES.values():
                files[record["node"]] = json.dumps(record["artifact"]["files"], sort_keys=True)
    return seconds, files


def machine_busy() -> float:
    """Seconds that all CPUs have worked for anybody; 0 where the system does not say."""
    try:
        values = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    except OSError:
        return 0.0
    return (sum(values[:3]) + sum(values[5:8])) / float(os.sysconf("SC_CLK_TCK"))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Seconds per stage on many images, on one core and on all")
    parser.add_argument("--unlabeled", type=int, default=50_000)
    parser.add_argument("--labelled", type=int, default=5_000)
    parser.add_argument("--size", type=int, default=320, help="height and width of an image, in pixels")
    given = parser.parse_args(arguments)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    result: dict[str, Any] = {"cores": allowed_cores(), "unlabeled": given.unlabeled, "labelled": given.labelled}
    runs: dict[str, dict[str, float]] = {}
    files: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("drawing and linking", file=sys.stderr)
        data_set(folder, given.unlabeled, given.labelled, given.size)
        pictures = sorted((folder / "unlabeled").iterdir())[:DRAWN]
        result["ceiling"] = round(ceiling(pictures, allowed_cores()), 2)
        began, machine, own = time.perf_counter(), machine_busy(), busy()
        for mode, more in (("serial", ["threads=1"]), ("parallel", [])):
            print(f"the {mode} run", file=sys.stderr)
            before = busy()
            wall = command(folder, "compress", folder / mode, given.unlabeled, *more)
            runs[mode], files[mode] = computed(folder / mode)
            result[mode] = {**runs[mode], "command_s": round(wall, 2), "processor_s": round(busy() - before, 2)}
            result[f"memory_mb_{mode}"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000)
        foreign = (machine_busy() - machine) - (busy() - own)
        room = (time.perf_counter() - began) * (os.cpu_count() or 1)
        (engine,) = (folder / "serial").rglob("build/*/files/model.onnx")
        result["accuracy_ceiling"] = round(ceiling(pictures, allowed_cores(), str(engine)), 2)
        print("rerun and plan", file=sys.stderr)
        result["rerun_s"] = round(command(folder, "compress", folder / "parallel", given.unlabeled), 2)
        result["plan_s"] = round(command(folder, "plan", folder / "parallel", given.unlabeled), 2)
    for name, node in NODES.items():
        result[f"{name}_ratio"] = round(runs["serial"][node] / runs["parallel"][node], 2)
    result["processor_ratio"] = round(result["serial"]["processor_s"] / result["parallel"]["processor_s"], 3)
    result["same"] = files["serial"] == files["parallel"]
    result["foreign_share"] = round(max(0.0, foreign) / room, 2)
    result["disturbed"] = foreign > FOREIGN * room
    print(json.dumps(result))


if __name__ == "__main__":
    main()
