"""Where the time of each engine goes, layer by layer, and how near its convolutions come to the machine's arithmetic
peak (stage ``profile``).

Face: `profile.Profile`, `groups.GROUPS`.
"""
