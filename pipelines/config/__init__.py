"""From YAML files and overrides to checked dataclasses; every problem of a config is found at once, before anything
runs.

Face: `root.PipelineConfig`, `check.check_command`, `load.load`, `stage_options.stage_options`.
"""
