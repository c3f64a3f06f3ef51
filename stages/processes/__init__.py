"""Processes of their own: the worker that runs one stage, and a group of processes that train together.

Face: `worker.main`, `group.ProcessGroup`, `children.Child`, `children.run`, `python.command`, `pipes.claim_stdout`,
`pipes.send`, `pipes.receive`.
"""
