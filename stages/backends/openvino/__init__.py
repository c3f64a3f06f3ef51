"""OpenVINO.

Face: `backend.OpenVino`, `options.OpenVinoOptions`.
"""
