"""The options of every stage, as plain dataclasses: the one list of what can be configured.

`pipelines/config/schema.py` registers them with Hydra, so field names here are config keys there. Not frozen, because
OmegaConf would then refuse overrides; stages treat them as read-only. ``MISSING``-like values are not used: what has
to be given is ``None`` by default and checked by name before anything runs.
"""

from __future__ import annotations
