"""Less work for the same detector: a float program with cheaper activations or fewer channels, and the student that
learns to do with it.

Face: `student.prepare`, `activations.exchange`, `channels.prune_channels`.
"""
