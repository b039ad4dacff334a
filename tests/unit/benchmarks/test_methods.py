"""The report on methods: what it says first, and of what."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.methods import report_methods
from tests.unit.tune.reporting.test_comparison import SKILL, finished
from tune.reporting import comparison


def test_its_first_sentence_is_whether_the_selection_is_told_apart_from_a_random_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SKILL, "dps-random", SKILL["vanilla"])
    monkeypatch.setattr(comparison, "refuse_changed_code", lambda *_: None)
    for task in ("rte", "mrpc"):
        finished(tmp_path / task, ("dps-dense", "dps-random"), task=task, confirm=4, trials=1)
    (tmp_path / "config.yaml").write_text("task: rte,mrpc\nconfirm: 4\nbaseline: dps-dense\n")
    text = report_methods(tmp_path)
    assert text.split("\n\n")[1].startswith("**Averaged over 2 tasks, dps-random is worse than dps-dense by ")
    assert "\n    python tune/compare.py --task rte,mrpc --confirm 4 --baseline dps-dense\n" in text
