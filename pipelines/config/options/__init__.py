"""The config groups that only the pipelines read, as dataclasses; those of the stages are in `stages.options`."""
