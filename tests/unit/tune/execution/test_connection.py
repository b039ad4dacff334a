"""Connecting to a cluster that others started."""

from __future__ import annotations

import os
import socket
from typing import Any
from unittest import mock

import pytest
import ray

from tune.execution import connection


def test_a_cluster_that_lets_nobody_in_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**options: Any) -> None:
        raise ConnectionError(f"Failed to connect to Ray cluster at {options['address']}")

    monkeypatch.setattr(ray, "init", refused)
    monkeypatch.setattr("ray._private.worker.print_to_stdstream", print)
    with socket.create_server(("127.0.0.1", 0)) as there:
        address = f"127.0.0.1:{there.getsockname()[1]}"
        with (
            mock.patch.dict(os.environ, RAY_ADDRESS=address),
            pytest.raises(
                ConnectionError, match=f"Ray cluster at {address}; something answers there: .*token"
            ),
        ):
            connection.connect_to_cluster()
