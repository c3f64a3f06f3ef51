"""Numbers without a detector: ranges for quantizers, shares of number formats, Student's t.

Face: `ranges.from_histogram`, `audit.summarise`, `student_t.student`.
"""
