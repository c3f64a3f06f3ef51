"""How many images a second a backend's engines do with several inferences at once, and how many within a limit on the
99th percentile of the latency (stage ``throughput``, ``latency=server``).

Face: `throughput.Throughput`, `grid.Shape`, `load.run`.
"""
