"""A call from Python leaves the process as it was, whatever the caller has set up in it."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

import detpress

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def state() -> dict[str, Any]:
    """What of a process a call could change."""
    return {
        "environment": dict(os.environ),
        "handlers": [signal.getsignal(number) for number in SIGNALS],
        "folder": Path.cwd(),
        "path": list(sys.path),
        "arguments": list(sys.argv),
        "streams": (sys.stdout, sys.stderr),
        "levels": {n: one.level for n in ("", "caller", "mlflow") if (one := logging.getLogger(n))},
        "root": list(logging.getLogger().handlers),
        "warnings": list(warnings.filters),
        "hydra": GlobalHydra.instance().hydra,
        "configs": json.dumps(list(ConfigStore.instance().repo)),
        "demo": OmegaConf.has_resolver("demo"),
    }


def test_a_config_of_the_caller_s_that_hydra_has_open_stays_open(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("key: ${demo:word}\n")
    OmegaConf.register_new_resolver("demo", lambda word: f"my {word}", replace=True)
    ConfigStore.instance().store(name="schema", node={"mine": 1})
    logging.getLogger("caller").setLevel(logging.ERROR)
    try:
        with initialize_config_dir(str(tmp_path), version_base="1.3"):
            before = state()
            with pytest.raises(detpress.ConfigError):
                detpress.plan(["nonsense=1"])
            assert detpress.plan(["experiment=demo"]).steps
            assert state() == before
            assert compose("mine").key == "my word" and "schema.yaml" in ConfigStore.instance().repo
            assert ConfigStore.instance().repo["schema.yaml"].node == {"mine": 1}
    finally:
        OmegaConf.clear_resolver("demo")
        del ConfigStore.instance().repo["schema.yaml"]
