"""No file of the repository holds a key, a token or a password: by their forms, and by how random a text is."""

from __future__ import annotations

import math
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT

FORMS = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a key of AWS": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a token of GitHub": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{50,})",
    "a token of GitLab": r"\bglpat-[\w-]{20}",
    "a token of Slack": r"\bxox[abeoprs]-[\w-]{10,}",
    "a key of Google": r"\bAIza[\w-]{35}",
    "a token of PyPI": r"\bpypi-[\w-]{50,}",
    "a token of a model hub": r"\bhf_[A-Za-z]{34}\b",
    "a secret key": r"\b[sr]k[-_](?:live|test|proj)?[-_]?[A-Za-z0-9]{24,}",
    "a web token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+",
    "a hook": r"hooks\.slack\.com/services/T\w+/B\w+/\w+",
}
NAMED = re.compile(
    r"""(?ix) (?:pass(?:word|wd)|secret|token|api_?key|credential)s? ["']? \s* [=:] \s* ["']? ([^\s"',;)}\]]{12,})"""
)
"""A text that is bound to such a name."""
RANDOM = re.compile(r"[A-Za-z0-9+/_-]{32,}={0,2}")
_BITS = 4.3
"""A letter of a random text of base 64 tells about 5, a hash in hex at most 4, a sentence or a path fewer."""
TEXTS = {".py", ".md", ".yaml", ".yml", ".toml", ".json", ".jsonl", ".txt", ".in", ".sh", ".cfg", ".ini", ".js", ".css",
         ".html", ".j2", ".cpp", ".hpp", ".lock", ""}  # fmt: skip


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no repository: its files are not listed")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name]


def bits(text: str) -> float:
    """Entropy of its letters, in bits a letter."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def secrets(text: str) -> list[str]:
    """What looks like one: its kind, and its beginning."""
    found = [f"{kind}: {m[0][:12]}..." for kind, form in FORMS.items() for m in re.finditer(form, text)]
    for match in NAMED.finditer(text):
        value = match[1]
        if bits(value) > 3.4 and re.search(r"\d", value) and re.fullmatch(r"[\w+/=.-]+", value):
            found.append(f"a value of a secret's name: {match[0][:20]}...")
    for match in RANDOM.finditer(text):
        word = match[0]
        kinds = sum(bool(re.search(kind, word)) for kind in ("[a-z]", "[A-Z]", r"\d"))
        if kinds == 3 and bits(word) > _BITS and not re.fullmatch(r"[\w-]+(/[\w.-]+)+", word):
            found.append(f"a random text: {word[:12]}...")
    return found


def test_no_tracked_file_holds_a_secret() -> None:
    found = []
    for path in tracked():
        if path.suffix in TEXTS and path.is_file() and path != Path(__file__):
            found += [f"{path.relative_to(ROOT)}: {one}" for one in secrets(path.read_text("utf-8", "replace"))]
    assert found == []


def test_no_key_file_is_tracked() -> None:
    names = re.compile(
        r"(?:^|/)(?:id_(?:rsa|ed25519|ecdsa|dsa)|\.env(?:\..*)?|\.netrc|\.pypirc|credentials|.*\.(?:pem|key|p12|pfx|kdbx))$"
    )
    assert [str(path) for path in tracked() if names.search(path.as_posix())] == []


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN RSA " + "PRIVATE KEY-----",
        "key = AKIA" + "ABCDEFGHIJKLMNOP",
        "ghp_" + "a1B2" * 9,
        "password: 'tr0ub4dor" + "AndThree7'",
        "API_KEY=" + "8f14e45fceea167a5a36dedd4bea2543",
        "https://hooks.slack.com/services/" + "T0/B0/abc",
        '"q9Zx' + 'V3mTn7LkP2wRb8YcJ5hGd1FsA6uE0oKi"',
    ],
)
def test_the_scan_sees_what_it_is_for(text: str) -> None:
    assert secrets(text)


@pytest.mark.parametrize(
    "text", ["password: ***", "token = os.environ['TOKEN']", "a" * 64, "sha256:" + "0123456789abcdef" * 4,
             "test_a_file_that_is_no_checkpoint_is_refused_in_one_line", "secret: hunter2"]
)  # fmt: skip
def test_and_nothing_else(text: str) -> None:
    assert secrets(text) == []
