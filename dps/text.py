"""Text that may be shown or kept: without passwords and tokens, without characters that deceive a reader."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import quote

REDACTION_MARK = "***"
MIN_SECRET_LENGTH = 6  # characters of a secret in the environment: what is shorter stands in every text

_USER = re.compile(r"(?<=://)(?:[^\s/@:]*:[^\s'\"]*|[^\s/@'\"]+)@")
_QUERY = re.compile(
    r"([?&;][\w.-]*(?:password|passwd|pwd|token|secret|key|signature|sig|credential)[\w.-]*=)[^&\s#;'\"]+",
    re.I,
)
_NAME = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|APIKEY|_KEYS?|_PWD|_PASS|_CREDENTIALS?)(_ID|_VALUE)?$", re.I
)


def redact_secrets(text: str) -> str:
    """`text` with *** for what it holds of secrets: user and password of a URI, the value of a query like
    ?token=..., and the value of every variable of the environment that is named like a secret (HF_TOKEN,
    MLFLOW_TRACKING_PASSWORD, AWS_SECRET_ACCESS_KEY), as it is or as a URI quotes it."""
    for secret in _list_secrets():
        text = text.replace(secret, REDACTION_MARK)
    return _QUERY.sub(rf"\1{REDACTION_MARK}", _USER.sub(f"{REDACTION_MARK}@", text))


def sanitise_text(text: str) -> str:
    """`redact_secrets`, with escapes in place of control characters and of those that change the
    direction."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in redact_secrets(text)
    )


def sanitise_line(text: object) -> str:
    """`sanitise_text`, and all on one line."""
    return sanitise_text(" ".join(str(text).split()))


def redact_tree(node: Any) -> Any:
    """Dicts, lists and plain values with every text in them `redact_secrets`."""
    if isinstance(node, str):
        return redact_secrets(node)
    if isinstance(node, dict):
        return {key: redact_tree(value) for key, value in node.items()}
    return [redact_tree(value) for value in node] if isinstance(node, (list, tuple)) else node


def _list_secrets() -> list[str]:
    """Values of the environment that are secrets, the longest first."""
    values = {
        value
        for name, value in os.environ.items()
        if _NAME.search(name) and len(value.strip()) >= MIN_SECRET_LENGTH
    }
    return sorted(values | {quote(value, safe="") for value in values}, key=len, reverse=True)


def quote_value(value: object, width: int = 60) -> str:
    """A value as it stands in a message: its repr on one line, cut at `width` characters."""
    text = repr(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."
