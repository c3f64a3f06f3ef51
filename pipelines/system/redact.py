"""Takes secrets out of whatever is written down: params, config dumps, commands, error messages.

What counts as secret: the value of a key whose name says so (``password``, ``api_key``, ``aws.secret_access_key``,
``webhook``, since the path of such an address is often its password),
user names and passwords in URLs, and signing parameters of a URL's query. The rest stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"

_WORDS = (
    r"webhooks?|passwords?|passwd|passphrase|pwd|secrets?|tokens?|credentials?|authorization|signature|sig"
    r"|api[_-]?keys?|access[_-]?keys?|private[_-]?keys?|account[_-]?keys?"
)
# A name is secret if one of its parts is: `hf_token`, `s3.secret-key`, `dbPassword`; not `tokenizer`, not `monkey`.
_NAME = re.compile(rf"(?:^|[^a-z])(?:{_WORDS})(?:$|[^a-z])")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_URL_USER = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s?#'\"]*@")
# Inside text: `db.password=hunter2`, `?X-Amz-Signature=...`, `"apiKey": "..."`.
_ASSIGN = re.compile(r"(?<![\w.-])(?P<name>[\w.-]{1,200})['\"]?[ \t]*[=:][ \t]*")
_VALUE = re.compile(r"\"[^\"]*\"|'[^']*'|[^\s&'\",;)}\]]+")
_NOTHING = ("null", "None", "true", "false")
"""Values that hide nothing; without them a printed config stays YAML."""
_FLAG = re.compile(r"(?<![\w-])--?(?P<name>[\w-]{1,200})[ \t]+(?=[^\s-])")
_BEARER = re.compile(r"\b(?P<kind>Bearer|Basic)\s+[A-Za-z0-9+/_.~=-]{8,}")


def is_secret(name: str) -> bool:
    """Whether a key of this name holds something that nobody else should read."""
    return _NAME.search(_CAMEL.sub("_", name).lower()) is not None


def _hide_values(text: str, names: re.Pattern[str]) -> str:
    """Replace the value that follows each secret name found by ``names``."""
    pieces, at = [], 0
    for match in names.finditer(text):
        if match.end() < at or not is_secret(match["name"]):
            continue
        value = _VALUE.match(text, match.end())
        if value and value[0] not in _NOTHING:
            quote = value[0][0] if value[0][0] in "'\"" else ""
            pieces += [text[at : match.end()], quote, HIDDEN, quote]
            at = value.end()
    return "".join([*pieces, text[at:]])


def redact_text(text: str) -> str:
    """``text`` with the secrets in it replaced by ``***``."""
    text = _URL_USER.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _BEARER.sub(rf"\g<kind> {HIDDEN}", text)
    return _hide_values(_hide_values(text, _ASSIGN), _FLAG)


def redact(value: Any) -> Any:
    """A copy of nested dicts, lists and plain values without the secrets; numbers, booleans and ``None`` are none."""
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if isinstance(item, str) and item and is_secret(str(key)) else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in value]
    return redact_text(value) if isinstance(value, str) else value
