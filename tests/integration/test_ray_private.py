"""A search without any private name of Ray: nothing but its speed depends on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli import SMALL, Done, search
from tune.execution.ray_private import PUBLIC_ONLY_VARIABLE

pytestmark = [pytest.mark.integration, pytest.mark.slow]
OPTIONS = ("--task", "rte", "--trials", "4", "--confirm", "2", "--max-concurrent", "1", "--seed", "0")


def test_a_search_with_every_fallback_finds_the_same_with_more_processes(tmp_path: Path) -> None:
    private, public = run(tmp_path / "private", {}), run(tmp_path / "public", {PUBLIC_ONLY_VARIABLE: "1"})
    assert results(public) == results(private)
    scores = {score for trial in private.found["trials"] for _, score in trial["scores"]}
    assert len(scores) > 2, "nothing was learned that could differ"
    assert public.processes > private.processes


def run(output: Path, env: dict[str, str]) -> Done:
    done = search(output, *OPTIONS, "--precision", "fp32", "--tracking-uri", "none", *SMALL, env=env)
    assert (done.status, done.left) == (0, []), done.text
    return done


def results(done: Done) -> dict[str, Any]:
    """Return what must not depend on the way that Ray is used."""
    kept = ("configuration", "seed", "outcome", "scores")
    trials = [{key: trial[key] for key in kept} for trial in done.found["trials"]]
    return {"trials": trials, "winner": done.found["winner"], "confirmation": done.found["confirmation"]}
