"""What the backends say of the Python that runs this: ``python -m stages.backends.probe`` prints one JSON object.

``{name: {"can_run", "detail", "fingerprint"}}``, or ``{"reason", "install", "fingerprint"}`` of an unavailable one.
"""

from __future__ import annotations

import json
from typing import Any

from stages import backends
from stages.backends.base import Available


def look() -> dict[str, dict[str, Any]]:
    """The object."""
    found: dict[str, dict[str, Any]] = {}
    for name in backends.names():
        backend = backends.get(name)
        state = backend.availability()
        if isinstance(state, Available):
            found[name] = {"can_run": state.can_run, "detail": state.detail}
        else:
            found[name] = {"reason": state.reason, "install": state.install}
        found[name]["fingerprint"] = dict(backend.fingerprint())
    return found


if __name__ == "__main__":
    print(json.dumps(look()))
