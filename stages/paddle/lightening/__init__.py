"""Less work for the same detector: a smaller program made from an exported one, before it is distilled.

Face: `channels.prune_channels`.
"""
