"""Stands for ``stages.distillation.group_member`` without Paddle: its request says what it answers, its
commands when it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> int:
    request = json.loads(Path(sys.argv[1]).read_text())
    print(json.dumps(request["says"]), flush=True)
    if "error" in request["says"]:
        return 4
    for line in sys.stdin:
        command = json.loads(line)
        if "end" in command:
            return int(command["end"])
        print(json.dumps({"did": command}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
