"""What listens on the machines of a cluster, and where; for `benchmarks/cluster_chaos.py`.

LISTENERS is the table of `cluster/README.md`: whatever else listens, or listens elsewhere, is a finding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmarks.machines import Machine

EVERYWHERE, OWN, LOOPBACK = "every interface", "the node's address", "loopback"


@dataclass(frozen=True)
class Listener:
    """A kind of process. sign: a part of its command line; may: where it may listen."""

    name: str
    sign: str
    may: tuple[str, ...]


LISTENERS = (
    Listener("control store (GCS)", "gcs_server", (EVERYWHERE,)),
    Listener("raylet, object manager", "raylet/raylet", (EVERYWHERE,)),
    Listener("Ray Client", "ray.util.client.server", (LOOPBACK, OWN)),
    Listener("agent of runtime environments", "RuntimeEnvAgent", (OWN,)),
    Listener("dashboard, job server, metrics", "dashboard/dashboard.py", (LOOPBACK, EVERYWHERE)),
    Listener("agent of the dashboard, metrics", "DashboardAgent", (LOOPBACK, OWN, EVERYWHERE)),
    Listener("monitor, metrics", "monitor.py", (EVERYWHERE,)),
    Listener("command of a search", "--drive", (EVERYWHERE,)),
    Listener("actors and workers of a search", "ray::", (OWN, EVERYWHERE)),
    Listener("MLflow", "mlflow", (OWN,)),
    Listener("object storage", "moto", (OWN,)),
)


def find_listeners(machine: Machine) -> set[tuple[str, str]]:
    """Return (what listens there, where)."""
    listed = machine.run("ps", "-ewwo", "pid=,args=")
    processes = dict(re.findall(r"^ *(\d+) (.*)$", listed, re.MULTILINE))
    found = set()
    for line in machine.run("ss", "-Hltnp").splitlines():
        place = line.split()[3].rpartition(":")[0].strip("[]").removeprefix("::ffff:").partition("%")[0]
        pid = re.search(r"pid=(\d+)", line)
        command = processes.get(pid[1], "") if pid else ""
        found.add((name_process(command), name_place(place, machine.address)))
    return found


def name_process(command: str) -> str:
    """Return what LISTENERS calls a process, else its command line."""
    return next((kind.name for kind in LISTENERS if kind.sign in command), command[:80] or "unknown")


def name_place(place: str, own: str) -> str:
    """Return what an address is. own: the machine's among the others."""
    if place in ("0.0.0.0", "*", "::"):
        return EVERYWHERE
    if place == own:
        return OWN
    return LOOPBACK if place == "::1" or place.startswith("127.") else place


def find_faults(found: set[tuple[str, str]]) -> list[str]:
    """Return what listens where it need not."""
    may = {kind.name: kind.may for kind in LISTENERS}
    return [f"{name} listens on {place}" for name, place in sorted(found) if place not in may.get(name, ())]


def format_table(found: set[tuple[str, str]]) -> str:
    """Return the table, as Markdown; in the last column, where each was seen to listen."""
    lines = ["| what listens | may listen on | seen on |", "|---|---|---|"]
    for kind in LISTENERS:
        seen = sorted(place for name, place in found if name == kind.name)
        lines.append(f"| {kind.name} | {' or '.join(kind.may)} | {' and '.join(seen) or 'nothing'} |")
    return "\n".join(lines)
