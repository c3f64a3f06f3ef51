"""Running a graph of stages: cached results first, then a worker process for each stage that is missing.

`node.py` makes the key under which a stage's result is stored; `ids.py` names the nodes of a graph.
`interpreter.py` and `paddle_python.py` say which Python the workers are.

Face: `node.Node`, `node.Ref`, `runner.Runner`, `plan.survey`, `events.Observer`, `worker.run_worker`,
`ids.stage_of`, `paddle_python.paddle_python`.
"""
