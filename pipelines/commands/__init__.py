"""The sub-commands of ``detpress`` with logic of their own: one module each, called by `pipelines.cli`."""
