"""The names of the passes, for options: importing this module loads nothing, asking for the names loads ONNX."""

from __future__ import annotations

from stages.options.rules import some_of


def pass_names() -> list[str]:
    """All passes there are."""
    from stages.lowering.passes import PASSES

    return list(PASSES)


KNOWN_PASSES = some_of(pass_names, "pass")
LOWERING = "names of the graph passes applied to the INT8 model, in order; null: the recipe of the backend"
"""The meaning of the option ``lowering``."""
