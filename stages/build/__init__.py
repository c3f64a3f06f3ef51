"""An exported model becomes the engine of one backend in one precision (stage ``build``).

Face: `build.Build`.
"""
