"""What the recipes of all backends that read ONNX begin with: names of passes, see `stages/lowering/passes.py`.

A backend's own recipe is `recipe.py` in its folder, for its INT8 engines. These modules hold names only and load
nothing.
"""

from __future__ import annotations

# The tail first: what it frees need not be reported as unobserved, nor have its weights folded.
COMMON = (
    "lift_zero_scales",
    "float_tail",
    "drop_unobserved",
    "fold_weights",
    "drop_multiply_by_one",
    "drop_duplicate_qdq",
)
