"""What a worker computes with, and that it stays so over the sittings of a search."""

from __future__ import annotations

from contextlib import ExitStack, chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dps.errors import InputError
from tests.unit.tune.helpers import make_plan
from tune.core.options import SearchOptions
from tune.core.parsing import write_options
from tune.execution import connection
from tune.planning import cluster, planner, probe
from tune.planning.cluster import Cluster, Node
from tune.records.ledger import Ledger
from tune.startup import plan_dry_run, plan_on_cluster

HERE = Cluster(None, (Node(2.0, 0.0, 8 * 2.0**30),))
ELSEWHERE = Cluster("10.0.0.1:6379", HERE.nodes)


@pytest.fixture(params=[True, False], ids=["with bf16", "without bf16"])
def has_bf16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the CPU has it in hardware."""
    has: bool = request.param
    monkeypatch.setattr(probe, "has_bf16_in_hardware", lambda: has)
    return has


def test_on_this_machine_auto_is_bf16_where_the_cpu_has_it(has_bf16: bool) -> None:
    picked, line = cluster.choose_precision(SearchOptions(), HERE, 0.0)
    assert picked == ("bf16" if has_bf16 else "fp32")
    assert line == f"{picked} (auto: this CPU {'has' if has_bf16 else 'does not have'} bf16 in hardware)"


@pytest.mark.parametrize(("all_have_it", "expected"), [(True, "bf16"), (False, "fp32"), (None, "fp32")])
def test_on_a_cluster_of_cpus_auto_is_bf16_where_every_node_has_it(
    has_bf16: bool, all_have_it: bool | None, expected: str
) -> None:
    asked = replace(ELSEWHERE, has_bf16=all_have_it)
    picked, line = cluster.choose_precision(SearchOptions(), asked, 0.0)
    which = "every node's CPU has" if all_have_it else "not every node's CPU has"
    assert (picked, line) == (expected, f"{expected} (auto: {which} bf16 in hardware)")
    _, named = cluster.choose_precision(SearchOptions(precision="bf16"), asked, 0.0)
    assert ("many times slower" in named) == (all_have_it is False)


def test_a_gpu_chooses_for_itself(has_bf16: bool) -> None:
    picked, line = cluster.choose_precision(SearchOptions(), HERE, 1.0)
    assert (picked, line) == ("auto", "auto: bf16 on GPUs that have it, else fp16")


@pytest.mark.parametrize("named", ["fp32", "bf16"])
def test_what_was_named_is_taken(has_bf16: bool, named: Any) -> None:
    options = SearchOptions(precision=named)
    assert cluster.choose_precision(options, ELSEWHERE, 0.0) == (named, f"{named} (named)")
    picked, line = cluster.choose_precision(options, HERE, 0.0)
    assert picked == named
    assert line.startswith(f"{named} (named")
    assert ("many times slower" in line) == (named == "bf16" and not has_bf16)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flags\t: fpu avx512_bf16 amx\n", True),
        ("flags\t: fpu avx512f\n", False),
        ("Features\t: bf16\n", False),
    ],
)
def test_bf16_is_among_the_flags_of_the_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, expected: bool
) -> None:
    monkeypatch.setattr(probe, "CPU_INFO", tmp_path / "cpuinfo")
    assert not probe.has_bf16_in_hardware()
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{text}", encoding="utf-8")
    assert probe.has_bf16_in_hardware() == expected


def test_fp16_needs_a_gpu() -> None:
    options = SearchOptions(precision="fp16")
    assert cluster.choose_precision(options, HERE, 1.0)[0] == "fp16"
    with pytest.raises(InputError, match="--precision: fp16 needs a GPU; use fp32 or bf16 on a CPU"):
        cluster.choose_precision(options, HERE, 0.0)


@pytest.mark.parametrize(
    ("began", "now", "gpus", "goes_on"),
    [
        ("bf16", "fp32", 0.0, "bf16"),
        ("fp32", "bf16", 0.0, "fp32"),
        (None, "bf16", 0.0, "fp32"),  # an earlier version knew nothing else
        (None, "auto", 1.0, "auto"),
        ("bf16", "bf16", 0.0, "bf16"),
    ],
)
def test_a_search_goes_on_as_it_began(began: str | None, now: str, gpus: float, goes_on: str) -> None:
    plan = make_plan()
    plan = replace(plan, gpus_per_worker=gpus).change_arms(settings=replace(plan.settings, precision=now))
    found = plan.with_first_precision(began)
    assert found.settings.precision == goes_on
    if goes_on == now:
        assert found is plan
    else:
        assert found.precision_note == f"{goes_on} (as the search began)"


def test_another_precision_is_not_slipped_under_what_was_named() -> None:
    plan = make_plan(precision="fp32")
    plan = plan.change_arms(settings=replace(plan.settings, precision="fp32"))
    assert plan.with_first_precision("bf16") is plan


def test_a_resumed_sitting_computes_as_its_ledger_says(
    has_bf16: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = "fp32" if has_bf16 else "bf16"
    monkeypatch.setattr(connection, "read_local_resources", lambda: HERE)
    monkeypatch.setattr(connection, "connect_to_cluster", lambda: HERE)
    output = tmp_path / "runs"
    output.mkdir()
    given = SearchOptions(data="builtin", model="builtin", output=output)
    first = planner.make_plan(given, HERE)
    assert first.settings.precision != began
    ledger = Ledger(output / "study.db", "max")
    ledger.open(first.change_arms(settings=replace(first.settings, precision=began)).get_identity(""))
    ledger.note("precision", began)
    write_options(given, output / "config.yaml")
    with ExitStack() as holding, chdir(tmp_path):
        (resumed,) = plan_on_cluster([(given.copy_with(resume=output), output)], holding)
    assert resumed.settings.precision == began
    assert resumed.precision_note == f"{began} (as the search began)"
    with chdir(tmp_path):
        assert plan_dry_run(given.copy_with(resume=output), output).settings.precision == began
        with pytest.raises(InputError, match="--resume: this is another search: seed was 0, now 3"):
            plan_dry_run(given.copy_with(resume=output, seed=3), output)
        with pytest.raises(InputError, match=r"--output: .* is not empty"):
            plan_dry_run(given.copy_with(output=output.parent), output.parent)
