"""A search over configs: ``detpress compress -m hydra/sweeper=optuna`` (docs/orchestration.md).

`sweep.py` is what Hydra's sweeper does, `search.py` the search without Hydra; `study.py` is the only file that knows
Optuna, `proposals.py` says where a search begins.

Face: `sweep.run`, `search.search`, `options.SearchOptions`.
"""
