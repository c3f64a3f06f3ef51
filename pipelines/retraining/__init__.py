"""The steps of ``detpress retrain``: what changed since the last run, whether the data can be trusted, and a challenger
that is compressed and measured beside the champion. Whether it is better is the verdict of the stage in
`stages/champion/judge.py`.

Face: `snapshot.snapshot`, `challenge.challenge`, `journal.Journal`, `state.State`.
"""
