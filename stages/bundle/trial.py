"""Whether the engine of an unpacked bundle runs here: ``python -m stages.bundle.trial FOLDER``.

It runs one golden image, in a process of its own, which a damaged engine may end. Standard output gets one line of
JSON, ``{"error": ...}`` of `stages.processes.pipes.error_to_json`, or ``{}`` if it runs.
"""

from __future__ import annotations

import sys
from pathlib import Path

from stages.bundle.contents import open_bundle
from stages.bundle.engine import open_engine
from stages.errors import ExitCode
from stages.processes.pipes import claim_stdout, die_with_parent, error_to_json, exit_at_once, send


def main() -> int:
    """Try the bundle that the argument names."""
    answers = claim_stdout()
    die_with_parent()
    folder = Path(sys.argv[1])
    try:
        bundle = open_bundle(folder, folder)
        with open_engine(bundle) as detector:
            for _ in detector.runner.over([bundle.image(bundle.golden()[0])], together=1):
                pass
    except Exception as error:
        send(answers, {"error": error_to_json(error)})
        return ExitCode.STAGE_FAILED
    send(answers, {})
    return ExitCode.DONE


if __name__ == "__main__":
    exit_at_once(main)
