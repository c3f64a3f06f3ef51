"""Retraining by the clock: each tick starts ``detpress retrain`` in a process of its own, which outlives the scheduler.

The tick itself is `tick.py`, the scheduler's process `serving.py`, the schedules on disk `jobs.py`.

Face: `tick.TickRunner`, `serving.Service`, `jobs.JobStore`.
"""
