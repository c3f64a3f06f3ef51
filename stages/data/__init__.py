"""The user's images and labels, checked and listed (stages ``collect_labeled``, ``collect_unlabeled``), the demo's
drawn ones (stage ``draw``), other layouts converted to ours (stage ``convert``), and weights by path or URL.

Face: `collect.CollectLabeled`, `collect.CollectUnlabeled`, `convert.Convert`, `draw.Draw`, `weights.resolve_weights`.
"""
