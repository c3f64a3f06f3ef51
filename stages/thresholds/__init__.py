"""Score thresholds that were tuned on FP32, moved to the scores of another engine (stage ``thresholds``).

Face: `thresholds.ThresholdsStage`.
"""
