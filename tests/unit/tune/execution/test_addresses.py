"""Addresses of Ray: each is told for what it is, within seconds."""

from __future__ import annotations

import http.server
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import grpc
import psutil
import pytest
import ray
from ray.train.torch import TorchConfig

from tune.execution import addresses
from tune.execution.addresses import check_control_store, get_cluster_address


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("head", "'head' is no HOST:PORT of a cluster's head, nor auto"),
        ("head:0", "is no HOST:PORT"),
        ("head:99999", "is no HOST:PORT"),
        (":6379", "is no HOST:PORT"),
        ("head:\u0663", "is no HOST:PORT"),
        ("ray://head:10001", "ray://head:10001 is a Ray Client address"),
        ("http://head:8265", "is the address of a job server; .*/submit.py --address http://head:8265"),
        (
            "127.0.0.1:1",
            r"no Ray cluster answers at 127.0.0.1:1 \(Connection refused\); start the cluster, or",
        ),
        ("[::1]:1", r"no Ray cluster answers at \[::1\]:1 \("),
        ("nowhere.invalid:1", r"no Ray cluster answers at nowhere.invalid:1 \("),
    ],
)
def test_an_address_where_no_cluster_is(address: str, said: str) -> None:
    with pytest.raises(ConnectionError, match=said):
        check_control_store(address)


def test_a_web_server_is_told_from_a_control_store() -> None:
    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        began = time.monotonic()
        with pytest.raises(
            ConnectionError, match=f"{address} is a web server, .* --address http://{address}"
        ):
            check_control_store(address)
        assert time.monotonic() - began < 5
        server.shutdown()


def test_what_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "ANSWER_TIMEOUT_S", 0.3)
    said = "is no control store of Ray; give HOST:PORT"
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(ConnectionError, match=said):
        check_control_store(f"127.0.0.1:{server.getsockname()[1]}")


@contextmanager
def run_control_store(refusal: grpc.StatusCode | None) -> Iterator[str]:
    """Run a server that answers as Ray's control store does. Yields its address."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        if refusal is not None:
            context.abort(refusal, "no")
        return b"id"

    service, _, method = addresses.CONTROL_STORE_METHOD.strip("/").partition("/")
    handler = grpc.method_handlers_generic_handler(
        service, {method: grpc.unary_unary_rpc_method_handler(answer)}
    )
    server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def test_a_control_store_says_whether_it_wants_a_token() -> None:
    with run_control_store(None) as address:
        assert check_control_store(address) is False
    with run_control_store(grpc.StatusCode.UNAUTHENTICATED) as address:
        assert check_control_store(address) is True


def test_another_server_of_its_protocol_is_none() -> None:
    unimplemented, said = grpc.StatusCode.UNIMPLEMENTED, "is no control store of Ray"
    with run_control_store(unimplemented) as address, pytest.raises(ConnectionError, match=said):
        check_control_store(address)


@pytest.mark.parametrize("value", ["", " ", "local"])
def test_local_is_as_unset(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", value)
    assert get_cluster_address() is None


def node(head: str, folder: str) -> Any:
    words = ["raylet", "--raylet_socket_name=/x", f"--temp_dir={folder}", f"--gcs-address={head}"]
    return SimpleNamespace(info={"cmdline": [*words, "--worker=python --gcs-address=other"]})


MINE, PRIVATE = node("10.0.0.1:6379", "/tmp/ray"), node("127.0.0.1:5", "/tmp/dps-ray-1000/r")
OTHER, GONE = node("10.0.0.2:6379", "/tmp/ray"), SimpleNamespace(info={"cmdline": None})


@pytest.mark.parametrize(
    ("processes", "found"),
    [
        ([MINE, PRIVATE, GONE], "10.0.0.1:6379"),
        ([MINE, MINE], "10.0.0.1:6379"),
        ([PRIVATE, GONE], "auto: no Ray runs on this machine that a search can join; start the cluster"),
        ([MINE, OTHER], "auto: several run here: 10.0.0.1:6379, 10.0.0.2:6379; name one of them"),
    ],
)
def test_auto_is_the_one_cluster_that_no_search_started_for_itself(
    monkeypatch: pytest.MonkeyPatch, processes: list[Any], found: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(psutil, "process_iter", lambda names: iter(processes))
    if found.startswith("auto"):
        with pytest.raises(ConnectionError, match=found):
            get_cluster_address()
    else:
        assert get_cluster_address() == found


@pytest.mark.parametrize(("named", "used"), [(None, "lan0"), ("mine0", "mine0")])
def test_workers_of_a_trial_find_one_another_at_the_addresses_of_their_nodes(
    monkeypatch: pytest.MonkeyPatch, named: str | None, used: str
) -> None:
    """gloo would take the address of the host's name: 127.0.1.1 on Debian, which no other node reaches."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", named or "")
    if named is None:
        monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    found = {"lo": ["127.0.0.1", "::1"], "wan0": ["192.0.2.1"], "lan0": ["fe80::1%lan0", "10.0.0.2"]}
    listed = {name: [SimpleNamespace(address=each) for each in own] for name, own in found.items()}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: listed)
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.0.0.2")
    config = addresses.make_torch_config()
    begun: list[str | None] = []
    base = TorchConfig().backend_cls
    monkeypatch.setattr(base, "on_start", lambda *given: begun.append(os.environ.get("GLOO_SOCKET_IFNAME")))
    group = SimpleNamespace(execute=lambda function: function())
    config.backend_cls().on_start(group, config)
    assert begun == [used]
