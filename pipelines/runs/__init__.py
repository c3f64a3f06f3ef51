"""The folder of a run: opened, kept up to date, reported, listed, and cleaned up.

Face: `run.open_run`, `run.Run`, `outcome.Outcome`, `outcome.exit_code`, `reporting.reported`, `verdict.print_verdict`,
`history.find_run`.
"""
