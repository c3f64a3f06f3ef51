"""Are vulnerabilities known of what the locks install? Asks the service of ``pip-audit``, so it needs a network::

    python requirements/audit.py               # the pip-audit on the path, or of this Python

Nothing known is exit code 0, and every known vulnerability is a line, and 1. What could not be asked is told, and 2:
``pip-audit`` itself ends with 0 where its service has not heard of a package, as a mirror of the index may answer.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements/paddle3.lock", "requirements/build.lock")
INSTALL = "pip-audit is not installed, so nothing was audited; pip install pip-audit, and run it again"
_FLAGS = ("--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json")


class Verdict(NamedTuple):
    """What is known of the packages of a lock."""

    known: list[str]
    """A line for each vulnerability."""
    unasked: list[str]
    """Packages of which nothing could be found out."""
    packages: int


def judge(report: dict[str, Any]) -> Verdict:
    """The JSON of ``pip-audit``."""
    known, unasked = [], []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unasked.append(str(package["name"]))
        for one in package.get("vulns", ()):
            fixed = ", ".join(one.get("fix_versions", ())) or "no version yet"
            known.append(f"{package['name']} {package['version']}: {one['id']}, mended by {fixed}")
    return Verdict(known, unasked, len(report["dependencies"]))


def audited(command: Sequence[str], lock: str) -> Verdict | str:
    """The verdict on a lock, or why there is none, in a line."""
    done = subprocess.run(
        [*command, *_FLAGS, "-r", lock], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False
    )
    try:
        return judge(json.loads(done.stdout))
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        return f"{lock}: not audited, the service of pip-audit does not answer as it should ({last[:300]})"


def main() -> int:
    own = importlib.util.find_spec("pip_audit") is not None
    found = shutil.which("pip-audit")
    if not own and found is None:
        print(INSTALL, file=sys.stderr)
        return 2
    command = [found] if found else [sys.executable, "-m", "pip_audit"]
    code = 0
    for lock in LOCKS:
        verdict = audited(command, lock)
        if isinstance(verdict, str):
            print(verdict, file=sys.stderr)
            code = max(code, 2)
            continue
        for line in verdict.known:
            print(f"{lock}: {line}")
        code = max(code, 1 if verdict.known else 0)
        if verdict.unasked:
            names = ", ".join(verdict.unasked[:3])
            print(f"{lock}: {len(verdict.unasked)} of {verdict.packages} packages not audited: the service knows "
                  f"nothing of them ({names}, ...); a mirror, perhaps", file=sys.stderr)  # fmt: skip
            code = max(code, 2)
        print(f"{lock}: {len(verdict.known)} known vulnerabilities, {verdict.packages - len(verdict.unasked)} of "
              f"{verdict.packages} packages asked about")  # fmt: skip
    return code


if __name__ == "__main__":
    sys.exit(main())
