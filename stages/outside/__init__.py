"""The border: names, JSON, files and texts that others wrote are looked at here before anything is done with them.

Face: `names.inside`, `names.leads_out`, `names.image_path`, `records.read`, `files.read_bytes`.
"""
