"""Whether every engine finds what the exported graph finds, without labels (stages ``detect`` and ``agreement``).

Face: `detect.Detect`, `agreement.AgreementStage`.
"""
