"""A float program made lighter: activations exchanged, channels pruned, and the student that learns to do with it.

Face: `student.prepare`, `activations.exchange`.
"""
