"""A program of Paddle 3 (`inference.json`), built again operator by operator in the format that Paddle 2 runs.

Face: `program.load_pir`.
"""
