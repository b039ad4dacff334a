"""Checkpoints: what goes in comes out, and a broken one is not the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dps.training import checkpoint
from tests.bad_inputs import PICKLE, PROOF
from tests.tiny import same

TREE = {
    "model": {"weight": torch.randn(3, 4), "half": torch.randn(2).bfloat16(), "empty": torch.empty(0)},
    "state": {
        0: {"step": torch.tensor(3.0), "mask": torch.tensor([[True, False]])},
        7: {"n": torch.arange(3)},
    },
    "groups": [{"lr": 1e-5, "betas": (0.9, 0.999), "fused": True, "foreach": None, "params": [0, 7]}],
    "name": "dps-mix ü",
    "seed": 2**61 + 1,
}


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    checkpoint.save_checkpoint(tmp_path, 1, TREE)
    loaded = checkpoint.load_checkpoint(tmp_path)
    assert same(loaded, TREE)
    assert list(loaded["state"]) == [0, 7]


def test_views_and_shared_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    tree = {"whole": whole, "again": whole, "transposed": whole.T, "row": whole[1], "column": whole[:, 1]}
    checkpoint.save_checkpoint(tmp_path, 1, tree)
    assert same(checkpoint.load_checkpoint(tmp_path), tree)


def test_a_tree_without_tensors_comes_back(tmp_path: Path) -> None:
    checkpoint.save_checkpoint(tmp_path, 1, {"scores": [[1, 0.5]]})
    assert checkpoint.load_checkpoint(tmp_path) == {"scores": [[1, 0.5]]}


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert checkpoint.load_checkpoint(tmp_path) is None
    assert checkpoint.load_checkpoint(tmp_path / "missing") is None


def test_the_newest_is_read_and_a_bounded_number_kept(tmp_path: Path) -> None:
    for step in (1, 2, 9, 10, 100):
        checkpoint.save_checkpoint(tmp_path, step, {"step": step})
    assert checkpoint.load_checkpoint(tmp_path) == {"step": 100}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000100"]


def test_the_same_step_can_be_saved_again(tmp_path: Path) -> None:
    checkpoint.save_checkpoint(tmp_path, 3, {"try": 1})
    checkpoint.save_checkpoint(tmp_path, 3, {"try": 2})
    assert checkpoint.load_checkpoint(tmp_path) == {"try": 2}


def damage(place: Path, how: str) -> None:
    tensors, tree = place / "tensors.safetensors", place / "tree.json"
    content = tensors.read_bytes()
    if how == "truncated":
        tensors.write_bytes(content[:-5])
    elif how == "flipped":
        tensors.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif how == "no tensors":
        tensors.unlink()
    elif how == "tree truncated":
        tree.write_bytes(tree.read_bytes()[:-9])
    elif how == "tree changed":
        changed = tree.read_text().replace('"value": 7', '"value": 8')
        assert changed != tree.read_text()
        tree.write_text(changed)
    elif how == "odd tree":
        document = json.loads(tree.read_text()) | {"tree": ["dict", 3]}
        document["sha256"] = checkpoint._hash_files(tensors, document["tree"])
        tree.write_text(json.dumps(document))
    elif how == "pickle":
        tensors.write_bytes(PICKLE)
        document = json.loads(tree.read_text())
        document["sha256"] = checkpoint._hash_files(tensors, document["tree"])
        tree.write_text(json.dumps(document))
    elif how == "tree empty":
        tree.write_bytes(b"")
    else:
        tree.write_text("{}")


@pytest.mark.parametrize(
    "how",
    [
        "truncated", "flipped", "no tensors", "tree truncated", "tree changed", "odd tree", "pickle",
        "tree empty", "not a tree",
    ],
)  # fmt: skip
def test_where_the_newest_is_broken_the_one_before_is_read_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint.save_checkpoint(tmp_path, 1, {"weight": torch.ones(5), "step": 6})
    damage(checkpoint.save_checkpoint(tmp_path, 2, {"weight": torch.zeros(5), "step": 7}), how)
    warnings: list[str] = []
    assert same(checkpoint.load_checkpoint(tmp_path, warnings.append), {"weight": torch.ones(5), "step": 6})
    assert not (tmp_path / PROOF).exists()
    assert len(warnings) == 1
    assert "step-00000002 is broken" in warnings[0]


def test_where_all_are_broken_there_is_none(tmp_path: Path) -> None:
    for step in (1, 2):
        damage(checkpoint.save_checkpoint(tmp_path, step, {"weight": torch.ones(5)}), "truncated")
    warnings: list[str] = []
    assert checkpoint.load_checkpoint(tmp_path, warnings.append) is None
    assert len(warnings) == 2


def test_a_write_that_was_cut_off_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save_checkpoint(tmp_path, 1, {"step": 1})

    def cut_off(folder: Path) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "sync_tree", cut_off)
    with pytest.raises(OSError, match="no space left"):
        checkpoint.save_checkpoint(tmp_path, 2, {"step": 2})
    assert checkpoint.load_checkpoint(tmp_path) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["step-00000001"]


def test_a_checkpoint_holds_safetensors_and_json_and_refuses_what_would_need_a_pickle(tmp_path: Path) -> None:
    place = checkpoint.save_checkpoint(tmp_path, 1, TREE)
    assert sorted(path.name for path in place.iterdir()) == ["tensors.safetensors", "tree.json"]
    json.loads((place / "tree.json").read_text(encoding="utf-8"))
    with pytest.raises(TypeError, match="a checkpoint cannot hold a set"):
        checkpoint.save_checkpoint(tmp_path, 2, {"names": {"a"}})


def test_a_checkpoint_is_a_copy(tmp_path: Path) -> None:
    weight: Tensor = torch.ones(3)
    checkpoint.save_checkpoint(tmp_path, 1, {"weight": weight})
    weight.zero_()
    assert same(checkpoint.load_checkpoint(tmp_path), {"weight": torch.ones(3)})
