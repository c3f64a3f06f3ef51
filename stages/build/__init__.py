"""An exported model becomes the engine of one backend in one variant (stage ``build``).

Face: `build.Build`.
"""
