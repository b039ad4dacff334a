"""Peak memory of the process, where the system tells."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dps.training import memory

CPU = torch.device("cpu")
SIZE = 96 * 2**20


def peak() -> int:
    found = memory.get_peak_memory(CPU)
    assert found is not None
    return found


@pytest.mark.skipif(
    memory.get_peak_memory(CPU) is None or not memory._CLEAR.exists(),
    reason="the system does not tell or reset the peak memory of a process",
)
def test_the_peak_rises_where_memory_is_touched_and_falls_when_it_is_reset() -> None:
    memory.reset_peak_memory(CPU)
    before = peak()
    held = torch.ones(SIZE, dtype=torch.uint8)
    after = peak()
    assert after > before + SIZE // 2
    del held
    assert peak() > before + SIZE // 2  # it is a peak
    memory.reset_peak_memory(CPU)
    assert peak() < after - SIZE // 2


def test_the_peak_is_that_of_the_status_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t  512 kB\nVmRSS:\t  400 kB\n")
    monkeypatch.setattr(memory, "_STATUS", status)
    assert memory.get_peak_memory(CPU) == 512 * 1024
    status.write_text("Name:\tpython\n")
    assert memory.get_peak_memory(CPU) is None


def test_resetting_says_so_to_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clear = tmp_path / "clear_refs"
    monkeypatch.setattr(memory, "_CLEAR", clear)
    memory.reset_peak_memory(CPU)
    assert clear.read_text() == "5"  # proc(5): the peak of the resident set


def test_a_system_that_tells_nothing_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none" / "status")
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "none" / "clear_refs")
    memory.reset_peak_memory(CPU)
    assert memory.get_peak_memory(CPU) is None
