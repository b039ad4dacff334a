"""The token that Ray asks for: whoever reads it can run code as its owner."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from tune.core.run import RefusedError

TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")  # each takes the place of the file


def make_auth_token() -> None:
    """Make ~/.ray/auth_token for a cluster of this user's own, readable by its owner alone, unless there is a
    token. Ray would make it readable by everybody. Raises RefusedError where it cannot be written."""
    protect_auth_token()
    is_off = os.environ.get("RAY_AUTH_MODE", "token").lower() != "token"
    if is_off or any(os.environ.get(name) for name in TOKEN_VARIABLES):
        return
    file = _locate_token()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise RefusedError(
            f"HOME: Ray keeps its token in {file}, which cannot be written ({error.strerror}); set HOME to a "
            f"folder of your own, or the token in {TOKEN_VARIABLES[0]}"
        ) from None
    with os.fdopen(descriptor, "w", encoding="ascii") as written:
        written.write(secrets.token_hex(32))


def protect_auth_token() -> None:
    """Take the token away from everybody but its owner, however it came to be. A file that cannot be changed,
    of another user or a read-only mount, stays as it is."""
    with suppress(OSError):
        mode = _locate_token().stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            _locate_token().chmod(stat.S_IMODE(mode) & stat.S_IRWXU)


def _locate_token() -> Path:
    return Path.home() / ".ray" / "auth_token"
