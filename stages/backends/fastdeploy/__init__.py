"""FastDeploy.

Face: `backend.FastDeploy`, `options.FastDeployOptions`.
"""
