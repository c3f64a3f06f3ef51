"""Which blocks of a detector lose most in INT8 (stage ``sensitivity``), and which stay in float (stage
``float_blocks``).

Face: `sensitivity.SensitivityStage`, `float_blocks.FloatBlocks`.
"""
