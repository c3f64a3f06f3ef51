"""MLflow tracking: a run's events go to a spool on disk, and from there to the tracking server in the background.

Face: `observer.MlflowObserver`, `client.connect`, `client.store_uri`.
"""
