"""Text that may be shown or kept: without passwords and tokens, without characters that deceive a reader."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import quote

STRUCK = "***"
SHORTEST = 6  # characters of a secret in the environment: what is shorter stands in every text

_USER = re.compile(r"(?<=://)(?:[^\s/@:]*:[^\s'\"]*|[^\s/@'\"]+)@")
_QUERY = re.compile(
    r"([?&;][\w.-]*(?:password|passwd|pwd|token|secret|key|signature|sig|credential)[\w.-]*=)[^&\s#;'\"]+",
    re.I,
)
_NAME = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|APIKEY|_KEYS?|_PWD|_PASS|_CREDENTIALS?)(_ID|_VALUE)?$", re.I
)


def redacted(text: str) -> str:
    """`text` with *** for what it holds of secrets: user and password of a URI, the value of a query like
    ?token=..., and the value of every variable of the environment that is named like a secret (HF_TOKEN,
    MLFLOW_TRACKING_PASSWORD, AWS_SECRET_ACCESS_KEY), as it is or as a URI quotes it."""
    for secret in _secrets():
        text = text.replace(secret, STRUCK)
    return _QUERY.sub(rf"\1{STRUCK}", _USER.sub(f"{STRUCK}@", text))


def readable(text: str) -> str:
    """`redacted`, with escapes in place of control characters and of those that change the direction."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in redacted(text))


def one_line(text: object) -> str:
    """`readable`, and all on one line."""
    return readable(" ".join(str(text).split()))


def tree(node: Any) -> Any:
    """Dicts, lists and plain values with every text in them `redacted`."""
    if isinstance(node, str):
        return redacted(node)
    if isinstance(node, dict):
        return {key: tree(value) for key, value in node.items()}
    return [tree(value) for value in node] if isinstance(node, (list, tuple)) else node


def _secrets() -> list[str]:
    """Values of the environment that are secrets, the longest first."""
    values = {
        value for name, value in os.environ.items() if _NAME.search(name) and len(value.strip()) >= SHORTEST
    }
    return sorted(values | {quote(value, safe="") for value in values}, key=len, reverse=True)
