"""Running a graph of stages: cached results first, then a worker process for each stage that is missing.

Face: `node.Node`, `node.Ref`, `runner.Runner`, `plan.survey`, `events.Observer`, `worker.run_worker`,
`ids.stage_of`.
"""
