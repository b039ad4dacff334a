"""Where a sitting keeps what must be found again by the next."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.unit.tune.helpers import open_ledger
from tune.search import SearchSession


def test_the_place_in_the_storage_stays_when_the_output_folder_is_renamed(tmp_path: Path) -> None:
    def sitting(output: str) -> Any:
        made: Any = object.__new__(SearchSession)
        made.options, made.output = SimpleNamespace(storage=str(tmp_path / "shared")), tmp_path / output
        made.ledgers = {"": open_ledger(tmp_path)}
        return made

    first = sitting("cola")._shared()
    assert Path(first).parent == tmp_path / "shared"
    assert Path(first).name.startswith("cola-")
    assert sitting("renamed")._shared() == first
