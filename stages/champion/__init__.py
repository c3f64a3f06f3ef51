"""What a promotion asks for: whether new images are like the earlier ones (stage ``drift``), and whether the
challenger may take the champion's place (stage ``judge``).

Face: `drift.Drift`, `judge.Judge`.
"""
