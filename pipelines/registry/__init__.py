"""MLflow's model registry: engines as versions, the champion among them, promotion and rollback.

Face: `registry.Registry`, `registry.Version`, `register.register`, `champion.fetch_champion`.
"""
