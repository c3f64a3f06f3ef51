"""The options of every stage, as plain dataclasses: the one list of what can be configured.

Each field states its type, default, rule and meaning once, with `rules.option`; `check.check_options` holds values
against the rules, and `detpress compress --help KEY` and `docs/options.md` print them. `pipelines/config/schema.py`
registers the dataclasses with Hydra, so field names here are config keys there. Not frozen, because OmegaConf would
then refuse overrides; stages treat them as read-only. ``MISSING``-like values are not used: what has to be given is
``None`` by default and checked by name before anything runs.

Face: `rules.option`, `rules.part`, `rules.like`, `check.check_options`, `check.require_valid`.
"""
