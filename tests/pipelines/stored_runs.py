"""Entries of a store and runs that are remembered, for tests of the commands that look at them."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.store.entries import Key
from pipelines.store.local import Store
from stages.artifacts import AccuracyResult, Precision, hash_files


def stored(artifacts: Path, text: str) -> str:
    """An entry of the store; its name."""
    store = Store(artifacts)
    store.prepare()
    key = Key("stub", {"text": text})
    pending = store.begin(key)
    (pending.out / "text.txt").write_text(text * 1000)
    made = AccuracyResult(root=pending.out, files=hash_files(pending.out), backend="stub", precision=Precision.FP32)
    store.commit(pending, made, record={})
    return str(key)


def remembered(artifacts: Path, name: str, *entries: str, status: str = "FINISHED", **more: object) -> Path:
    folder = artifacts / "runs" / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("seed: 0\n")
    stages = {f"s{i}": {"status": "done", "entry": entry} for i, entry in enumerate(entries)}
    (folder / "run.json").write_text(json.dumps({"run_id": name, "status": status, "stages": stages, **more}))
    return folder
