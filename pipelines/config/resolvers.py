"""Where the project's own files are: the same two folders in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf

DEMO = Path(__file__).resolve().parents[2] / "artifacts" / "demo"
"""The demo's small checkpoint; the wheel carries it beside the packages, at the place it has in a checkout."""


def demo_file(name: str) -> str:
    """Absolute path of a file of the embedded demo (it may be missing: the config check says so)."""
    return str(DEMO / name)


def register_resolvers() -> None:
    """Let YAML files say ``${demo:FILE}``."""
    OmegaConf.register_new_resolver("demo", demo_file, replace=True)
