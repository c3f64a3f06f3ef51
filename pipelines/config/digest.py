"""The digest of a config: what two runs with the same results have in common."""

from __future__ import annotations

from pipelines.config.schema import PipelineConfig
from pipelines.system.redact import redact
from stages.artifacts import digest_of
from stages.codec import to_json

NOT_RESULTS = ("run", "tracking", "registry", "retrain", "schedule")
"""Sections of the config that change no result."""


def config_digest(config: PipelineConfig) -> str:
    """Digest of what a config asks for; where results and records go, and when, is left out."""
    plain = redact(to_json(config))
    return digest_of({name: value for name, value in plain.items() if name not in NOT_RESULTS})
