"""An engine with all that it needs on another machine: packed (stage ``bundle``), verified there, and run.

Face: `bundle.BundleStage`, `contents.open_bundle`, `verify.verify`.
"""
