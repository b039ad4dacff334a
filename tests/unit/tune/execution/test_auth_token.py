"""Ray's token is its owner's alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tune.core.run import RefusedError
from tune.execution.auth_token import make_auth_token, protect_auth_token


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in a new home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".ray" / "auth_token"


def read_mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


def test_it_is_made_once_for_its_owner(token: Path) -> None:
    make_auth_token()
    first = token.read_text()
    assert len(first) == 64
    assert read_mode(token) == 0o600
    make_auth_token()
    assert token.read_text() == first


@pytest.mark.parametrize("protect", [make_auth_token, protect_auth_token])
def test_one_that_others_can_read_is_taken_from_them(token: Path, protect: object) -> None:
    token.parent.mkdir()
    token.write_text("theirs")
    for mode, kept in ((0o644, 0o600), (0o640, 0o600), (0o444, 0o400), (0o600, 0o600)):
        token.chmod(mode)
        protect()  # type: ignore[operator]
        assert (token.read_text(), read_mode(token)) == ("theirs", kept)


@pytest.mark.parametrize(
    ("name", "value"), [("RAY_AUTH_TOKEN", "x"), ("RAY_AUTH_TOKEN_PATH", "/x"), ("RAY_AUTH_MODE", "disabled")]
)
def test_none_is_made_where_ray_does_not_look_for_it(
    token: Path, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    make_auth_token()
    protect_auth_token()
    assert not token.exists()


def test_a_home_that_cannot_be_written_is_refused_in_a_line(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/proc/nope")
    with pytest.raises(RefusedError, match=r"^HOME: .*/proc/nope/\.ray/auth_token.* RAY_AUTH_TOKEN"):
        make_auth_token()
