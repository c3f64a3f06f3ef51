"""A checkpoint, or a model that was exported before, in the forms that engines are built from (stage ``export``).

Face: `export.Export`.
"""
