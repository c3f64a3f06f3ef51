"""Runtime and End2End of a backend's engines, timed in turns, with a verdict on each timing (stage ``latency``).

Face: `latency.Latency`, `timing.measure`, `validity.verdict`.
"""
