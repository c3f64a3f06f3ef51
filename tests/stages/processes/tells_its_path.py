"""A program that prints where its modules come from, as JSON; first it imports the module that $NEEDS names."""

from __future__ import annotations

import importlib
import json
import os
import sys

import stages

if __name__ == "__main__":
    importlib.import_module(os.environ.get("NEEDS", "json"))
    told = {"path": sys.path, "arguments": sys.argv[1:], "stages": stages.__file__, "MINE": os.environ.get("MINE")}
    print(json.dumps(told))
