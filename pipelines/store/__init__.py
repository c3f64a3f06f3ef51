"""Results of stages by their key, in the artifacts folder and on object storage that machines share.

`pipelines/execution/node.py` makes the keys.

Face: `remote.open_store`, `local.Store`, `entries.Entry`, `entries.Key`.
"""
