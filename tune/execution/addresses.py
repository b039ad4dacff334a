"""Addresses of Ray: what RAY_ADDRESS names, whether a control store answers there, which one workers use."""

from __future__ import annotations

import http.client
import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tune.core.command import format_command

ADDRESS_VARIABLE = "RAY_ADDRESS"
ANSWER_TIMEOUT_S = 5.0
CONTROL_STORE_METHOD = "/ray.rpc.NodeInfoGcsService/GetClusterId"
PRIVATE_FOLDER_PREFIX = "dps-ray-"  # of the folder of a Ray that a search started for itself
LOCAL_REMEDY = f"start the cluster, or unset {ADDRESS_VARIABLE} for a local one"
SUBMIT = "python cluster/submit.py"
HEAD_REMEDY = "give HOST:PORT of the cluster's head (port 6379 as a rule)"


def get_cluster_address() -> str | None:
    """Return the address in RAY_ADDRESS, for `auto` that of the Ray which runs on this machine; None where a
    search is to start Ray for itself: without the variable, and for `local`. Ray sets it in a submitted job.

    Raises ConnectionError for `auto` where not exactly one runs.
    """
    address = os.environ.get(ADDRESS_VARIABLE, "").strip()
    if address == "auto":
        return _find_running_head()
    return None if address in ("", "local") else address


def is_on_loopback(address: str) -> bool:
    """Return whether the head listens on loopback only, as `cluster/local.py` starts it; Ray would otherwise
    look for it at the machine's outer address."""
    return address.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")


def check_control_store(address: str) -> bool:
    """Ask the control store for its name. Returns whether it wants a token first.

    Raises ConnectionError within seconds where none answers; Ray itself would try for minutes.
    """
    host, port = _split_address(address)
    try:
        socket.create_connection((host, port), timeout=ANSWER_TIMEOUT_S).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConnectionError(f"no Ray cluster answers at {address} ({reason}); {LOCAL_REMEDY}") from None
    if uses_tls():
        return False
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc

    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(CONTROL_STORE_METHOD)(b"", timeout=ANSWER_TIMEOUT_S)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                return True
        else:
            return False
    if _is_web_server(host, port):
        raise ConnectionError(
            f"{address} is a web server, as Ray's dashboard and job server are; {HEAD_REMEDY}, or submit the "
            f"search there: {format_command(SUBMIT, '--address', f'http://{address}')}"
        )
    raise ConnectionError(f"what answers at {address} is no control store of Ray; {HEAD_REMEDY}")


def get_host(address: str) -> str:
    """Return the host of HOST:PORT, of an IPv6 address without its brackets."""
    return address.rpartition(":")[0].strip("[]")


def uses_tls() -> bool:
    """Return whether Ray's servers wait for a TLS handshake."""
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def make_torch_config() -> Any:
    """Return Ray Train's configuration of DDP, whose workers first choose their interface."""
    from ray.train.torch import TorchConfig

    class NodeBackend(TorchConfig().backend_cls):  # type: ignore[misc]
        def on_start(self, worker_group: Any, backend_config: Any) -> None:
            worker_group.execute(use_interface_of_node)
            super().on_start(worker_group, backend_config)

    class NodeTorchConfig(TorchConfig):
        @property
        def backend_cls(self) -> type[NodeBackend]:
            return NodeBackend

    return NodeTorchConfig()


def use_interface_of_node() -> None:
    """Let gloo in this process use the interface on which the cluster knows its node, unless one is named.
    Alone, it takes the address of the host's name: on Debian one of loopback, which no other node reaches."""
    from ray.util import get_node_ip_address

    address = get_node_ip_address()
    for name, addresses in psutil.net_if_addrs().items():
        if address in [each.address.partition("%")[0] for each in addresses]:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)


def _split_address(address: str) -> tuple[str, int]:
    """Return host and port. Raises ConnectionError for what is no address of a head."""
    if re.match(r"https?://", address):
        raise ConnectionError(
            f"{address} is the address of a job server; {HEAD_REMEDY}, or submit the search there: "
            f"{format_command(SUBMIT, '--address', address)}"
        )
    if address.startswith("ray://"):
        raise ConnectionError(f"{address} is a Ray Client address; {HEAD_REMEDY}, or submit a job")
    host, _, port = address.rpartition(":")
    host = host[1:-1] if re.fullmatch(r"\[.*\]", host) else host
    if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ConnectionError(f"{address!r} is no HOST:PORT of a cluster's head, nor auto; {HEAD_REMEDY}")
    return host, int(port)


def _is_web_server(host: str, port: int) -> bool:
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection(host, port, timeout=ANSWER_TIMEOUT_S)
        connection.request("GET", "/")
        return connection.getresponse().status > 0
    return False


def _find_running_head() -> str:
    """Return the address of the one Ray on this machine that no search started for itself."""
    heads = set[str]()
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or ()
        options = dict(word.split("=", 1) for word in words if re.match(r"--\w[^ ]*=", word))
        folder, head = Path(options.get("--temp_dir", "")), options.get("--gcs-address")
        is_private = any(part.startswith(PRIVATE_FOLDER_PREFIX) for part in folder.parts)
        if head and "--raylet_socket_name" in options and not is_private:
            heads.add(head)
    if len(heads) == 1:
        return heads.pop()
    if heads:
        raise ConnectionError(f"auto: several run here: {', '.join(sorted(heads))}; name one of them")
    raise ConnectionError(f"auto: no Ray runs on this machine that a search can join; {LOCAL_REMEDY}")
