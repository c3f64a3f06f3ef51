"""Many run folders as `detpress compress` leaves them, drawn: reports of two backends, matches in the store."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from stages.detection.matching import Detections, Truth, match

MODELS, DATA, BACKENDS = ("ppyoloe_s", "ppyoloe_m", "ppyoloe_tiny"), ("bccd", "shapes"), ("onnxruntime", "openvino")
HARDWARE = ("2 cores of a small machine", "16 cores of a large one")
DISTURBED = "invalid: CPU shared with the load of other processes (77% of its time)"
_MS = {"ppyoloe_s": 40.0, "ppyoloe_m": 90.0, "ppyoloe_tiny": 12.0}
_MAP = {"ppyoloe_s": 48.0, "ppyoloe_m": 53.0, "ppyoloe_tiny": 36.0}


def draw_runs(artifacts: Path, count: int, *, images: int = 12, seed: int = 0) -> list[Path]:
    """``count`` runs, oldest first: most of them finished, some failed, one of five disturbed; their folders.

    Args:
        images: of the matches that the intervals of mAP come from; a file for each run.
    """
    chance = random.Random(seed)
    matches = artifacts / "matches.npz"
    artifacts.mkdir(parents=True, exist_ok=True)
    _draw_matches(matches, images)
    content = matches.read_bytes()
    matches.unlink()
    folders = []
    for number in range(count):
        model, data = chance.choice(MODELS), chance.choice(DATA)
        day, second = divmod(number, 40)
        run_id = f"2026{1 + day // 28:02d}{1 + day % 28:02d}-10{second:02d}00-{model}-{data}-{number:04x}"
        folder = artifacts / "runs" / run_id
        folder.mkdir(parents=True)
        status = "FAILED" if number % 17 == 3 else "FINISHED"
        state = {
            "run_id": run_id, "status": status, "pipeline": "compress", "model": model, "data": data,
            "started": f"2026-{1 + day // 28:02d}-{1 + day % 28:02d}T10:{second:02d}:00Z", "stages": {},
        }  # fmt: skip
        (folder / "run.json").write_text(json.dumps(state, indent=1))
        folders.append(folder)
        if status == "FAILED":
            continue
        key = f"accuracy/{number:016x}"
        entry = artifacts / "store" / key / "files"
        entry.mkdir(parents=True)
        (entry / "matches.npz").write_bytes(content)
        (folder / "report.json").write_text(json.dumps(report(run_id, model, data, key, chance), indent=1))
    return folders


def report(run_id: str, model: str, data: str, matches: str, chance: random.Random) -> dict[str, Any]:
    """A report with FP32 and INT8 of two backends."""
    hardware = chance.choice(HARDWARE)
    rows: list[dict[str, Any]] = []
    for backend in BACKENDS:
        slow = _MS[model] * chance.uniform(0.9, 1.1) / (2 if hardware == HARDWARE[1] else 1)
        for precision, share, drop in (("fp32", 1.0, 0.0), ("int8", chance.uniform(0.4, 0.7), chance.uniform(0, 1.5))):
            verdict = DISTURBED if chance.random() < 0.2 else "valid"
            rows.append(_row(backend, precision, slow * share, slow, _MAP[model] + chance.gauss(0, 0.4), drop, verdict))
            rows[-1] |= {"matches": matches, "hardware": hardware}
    gates = [{"gate": "map_drop", "backend": "openvino", "precision": "int8", "limit": 1.0, "value": 0.5, "of": "value",
              "margin": 0.5, "verdict": "pass" if chance.random() < 0.8 else "fail", "reason": None}]  # fmt: skip
    return {"schema_version": 8, "status": "ok", "run_id": run_id, "model": model, "data": data, "hardware": hardware,
            "command": "detpress compress", "commit": None, "method": "qat_distill", "seed": 0, "rows": rows,
            "gates": gates}  # fmt: skip


def _row(
    backend: str, precision: str, ms: float, slow: float, score: float, drop: float, verdict: str
) -> dict[str, Any]:
    base = precision == "fp32"
    classes = [{"name": f"class {i}", "AP": 0.4, "AP50": 0.6, "boxes": 12} for i in range(20)]
    ratio = slow / ms
    return {
        "backend": backend, "precision": precision, "status": "ok", "map": score - drop, "engine_bytes": 8_000_000,
        "latency": {"runtime": {"median_ms": ms, "rounds_ms": [ms * f for f in (0.98, 1.0, 1.01, 1.02)]},
                    "end2end": None},
        "validity": {"runtime": verdict, "end2end": None},
        "speedup": {"runtime": None if base else ratio, "end2end": None},
        "speedup_interval": {"runtime": None if base else [0.97 * ratio, 1.03 * ratio], "end2end": None},
        "speedup_validity": {"runtime": None if base else verdict, "end2end": None},
        "map_drop": None if base else drop, "map50": score + 15,
        "difference": {} if base else {"map": {"value": -drop, "low": -drop - 0.6, "high": -drop + 0.5}},
        "class_differences": [], "threads": 2, "batch": 1, "nms_in": "program", "accuracy": {"images": 60,
        "per_class": classes},
    }  # fmt: skip


def _draw_matches(path: Path, images: int) -> None:
    """Of two classes, found well but not quite."""
    chance = np.random.default_rng(0)
    count = 4 * images
    image, category = np.arange(count, dtype=np.int32) % images, (chance.integers(0, 2, count)).astype(np.int32)
    box = np.concatenate([chance.uniform(0, 200, (count, 2)), chance.uniform(30, 90, (count, 2))], axis=1)
    area = box[:, 2] * box[:, 3]
    truth = Truth(list(range(images)), [0, 1], image, category, box, area, np.zeros(count, np.bool_))
    found = Detections(image, category, chance.uniform(0, 1, count), box + chance.normal(0, 4, box.shape))
    match(truth, found).save(path)
