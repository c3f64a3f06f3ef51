"""Runtime and End2End of a backend's engines, timed in turns, with a verdict on each timing and each ratio (stage
``latency``).

Face: `latency.Latency`, `timing.measure`, `validity.verdict`, `ratio.judged`, `quiet.wait_until_quiet`.
"""
