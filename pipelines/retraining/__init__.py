"""What ``detpress retrain`` is made of: what changed since the last run, whether the data can be trusted, and whether
the challenger is better than the champion.

Face: `snapshot.snapshot`, `challenge.challenge`, `journal.Journal`, `state.State`.
"""
