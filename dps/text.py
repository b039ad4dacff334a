"""Text that is safe to show or keep: no passwords or tokens, no characters that deceive a reader."""

from __future__ import annotations

import json
import os
import re
import reprlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

REDACTION_MARK = "***"
MIN_SECRET_LENGTH = 6  # characters; a shorter secret would match ordinary text

_USER = re.compile(r"(?<=://)(?:[^\s/@:]*:[^\s'\"]*|[^\s/@'\"]+)@")
_QUERY = re.compile(
    r"([?&;][\w.-]*(?:password|passwd|pwd|token|secret|key|signature|sig|credential)[\w.-]*=)[^&\s#;'\"]+",
    re.I,
)
_NAME = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|COOKIE|WEBHOOK|AUTH_HEADER)(?!.*_(FILE|PATH|DIR|NAME)$)"
    r"|(TOKEN|APIKEY|(^|_)(JWT|PAT|AUTH)|_KEYS?|_PWD|_PASS|_CREDENTIALS?)(_ID|_VALUE)?$",
    re.I,
)


def redact_secrets(text: str) -> str:
    """Replace the secrets in a text by ***.

    Secrets are user and password of a URI, the value of a query like ?token=..., and the value of every
    environment variable with the name of a secret (HF_TOKEN, MLFLOW_TRACKING_PASSWORD,
    AWS_SECRET_ACCESS_KEY), plain or quoted as in a URI. For text that is shown or sent; what is read again
    goes through `redact_addresses`, as such a value may be an ordinary word.
    """
    for secret in _list_secrets():
        text = text.replace(secret, REDACTION_MARK)
    return _redact_address(text)


def redact_addresses(node: Any) -> Any:
    """Redact user, password and query of every URI in nested dicts and lists; all else can be read again."""
    return _map_texts(_redact_address, node)


def _redact_address(text: str) -> str:
    return _QUERY.sub(rf"\1{REDACTION_MARK}", _USER.sub(f"{REDACTION_MARK}@", text))


def sanitise_text(text: str) -> str:
    """Redact secrets, and escape control characters and those that change the writing direction."""
    return escape_controls(redact_secrets(text))


def escape_controls(text: str) -> str:
    """Escape control characters, and those that change the writing direction."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def format_json_line(value: object) -> str:
    """Format a value as JSON on one line. Letters of any language stay; what `sanitise_text` would escape is
    escaped as JSON does it. Secrets are not looked for."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def sanitise_line(text: object) -> str:
    """Return the sanitised text on one line."""
    return sanitise_text(" ".join(str(text).split()))


def redact_tree(node: Any) -> Any:
    """Redact the secrets in every text of nested dicts and lists; keys and other values stay."""
    return _map_texts(redact_secrets, node)


def _map_texts(change: Callable[[str], str], node: Any) -> Any:
    if isinstance(node, str):
        return change(node)
    if isinstance(node, dict):
        return {key: _map_texts(change, value) for key, value in node.items()}
    return [_map_texts(change, value) for value in node] if isinstance(node, (list, tuple)) else node


def _list_secrets() -> list[str]:
    """Return the values of secret environment variables, the longest first. Another thread may change the
    environment meanwhile: names are copied at once, and one that is gone is left out."""
    values = {
        value
        for name in list(os.environ)
        if _NAME.search(name) and len((value := os.environ.get(name, "")).strip()) >= MIN_SECRET_LENGTH
    }
    return sorted(values | {quote(value, safe="") for value in values}, key=len, reverse=True)


class _ShortRepr(reprlib.Repr):
    """The repr of a value's beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.maxtuple = self.maxlist = self.maxset = self.maxfrozenset = self.maxdict = 20
        self.maxstring = self.maxother = 200


def quote_value(value: object, width: int = 60) -> str:
    """Quote a value for a message: its repr, cut at `width` characters. Of a large one only the beginning is
    read."""
    text = repr(value) if isinstance(value, str | int | float) else _ShortRepr().repr(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."
