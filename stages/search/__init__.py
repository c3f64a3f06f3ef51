"""The cheapest compression that holds a limit on the drop (stage ``search``, ``compression=auto``): the escalation, how
its steps are made and judged, and what is told of its path.

Face: `search.Search`.
"""
