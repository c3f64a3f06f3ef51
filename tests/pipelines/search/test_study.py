"""What is said where Optuna is missing; with it, `test_search.py` looks at the study through the search."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

HIDDEN = "import sys; sys.modules['optuna'] = None; from pipelines.cli import main; sys.exit(main(sys.argv[1:]))"


def test_without_optuna_it_says_what_to_install_and_nothing_runs(tmp_path: Path) -> None:
    search = ["compress", "-m", "hydra/sweeper=optuna", "model.random_weights=true", "run.artifacts=there",
              "compression.steps=choice(1,2)"]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", HIDDEN, *search], cwd=tmp_path, capture_output=True, text=True,
                          timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"})  # fmt: skip
    assert done.returncode == 2 and "needs Optuna" in done.stderr and "[search]" in done.stderr
    assert not (tmp_path / "there" / "runs").exists()
