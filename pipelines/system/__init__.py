"""This host: files, locks, devices, processes, versions, secrets. Knows nothing of runs or stages.

Face: `locks.exclusive`, `locks.signed`, `devices.DeviceLocks`, `redact.redact`, `files.write_text`.
"""
