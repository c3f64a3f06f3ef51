"""Orchestration: which stages run, on what, and what is remembered of them. Knows Hydra and MLflow, touches no tensor.

The pipelines are the modules of this folder, to be read from top to bottom; the folders are what they are made of.
`docs/architecture.md` draws how they build on each other.
"""
