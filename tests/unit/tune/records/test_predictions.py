"""What a confirmation predicted: written whole, read back bit for bit, refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dps.errors import InputError
from tune.records.predictions import locate_predictions, read_predictions, write_predictions


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(6, 8)).astype(np.float32)
    logits = {"dev": whole[:, ::4], "dev_mismatched": whole[::2], "mnli-mm": whole.T}
    labels = {"dev": np.arange(12)[::2], "dev_mismatched": np.array([1.5, 0.2, 5.0]), "mnli-mm": np.arange(8)}
    file = locate_predictions(tmp_path, "dps-dense:confirm-1")
    write_predictions(file, logits, labels)
    held = read_predictions(file)
    assert set(held) == set(logits)
    for name, (gold, values) in held.items():
        assert (gold.dtype, values.dtype) == (labels[name].dtype, np.float32)
        np.testing.assert_array_equal(gold, labels[name])
        np.testing.assert_array_equal(values, logits[name])
    assert [path.name for path in file.parent.iterdir()] == ["dps-dense:confirm-1.safetensors"]


def test_every_run_has_its_own_place(tmp_path: Path) -> None:
    ids = ["confirm-1", "confirm-11", "vanilla:confirm-1", "vanilla-no-dropout:confirm-1"]
    assert len({locate_predictions(tmp_path, run) for run in ids}) == len(ids)
    assert {locate_predictions(tmp_path, run).parent for run in ids} == {tmp_path / "predictions"}


def test_writing_again_replaces(tmp_path: Path) -> None:
    for value in (0, 1):
        write_predictions(
            tmp_path / "x.safetensors", {"dev": np.full((2, 2), value, np.float32)}, {"dev": np.arange(2)}
        )
    assert read_predictions(tmp_path / "x.safetensors")["dev"][1].tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("content", [None, b"", b"half a file", b"\x40" + bytes(7) + b"{}"])
def test_a_file_that_is_not_whole_is_refused_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "odd.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"predictions: cannot read .*odd\.safetensors") as refusal:
        read_predictions(file)
    assert "\n" not in str(refusal.value)


def test_logits_without_their_labels_are_refused(tmp_path: Path) -> None:
    write_predictions(tmp_path / "x.safetensors", {"dev": np.zeros((2, 2), np.float32)}, {})
    with pytest.raises(InputError, match=r"cannot read .*dev\.labels"):
        read_predictions(tmp_path / "x.safetensors")
