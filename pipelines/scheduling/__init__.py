"""Retraining by the clock: what is due is started in a process of its own, and survives whoever is killed."""
