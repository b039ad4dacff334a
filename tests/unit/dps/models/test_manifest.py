"""A folder of a model whose files are not what was written is noticed when it is read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import dps
from dps.errors import InputError
from dps.models import PretrainedEncoder, locate_model
from dps.models.manifest import MANIFEST_FILE, find_damage, write_manifest
from dps.predict import Predictor
from dps.tasks.registry import get_task
from tune.reporting.best_model import holds_whole_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_cola: Path) -> Path:
    config = dps.FineTuneConfig(
        data=str(tiny_cola), model=str(tiny_model), max_steps=1, evaluations=1, method=dps.Vanilla()
    )
    folder = tmp_path_factory.mktemp("saved") / "model"
    dps.finetune(config).save(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of a saved model, with what else lies in best/."""
    copy = shutil.copytree(saved, tmp_path / "model")
    (copy / "README.md").write_text("the card")
    return copy


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "flipped": lambda file: file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1])),
    "missing": Path.unlink,
}


def test_a_folder_as_it_was_written_is_whole(folder: Path) -> None:
    assert find_damage(folder) is None
    assert holds_whole_model(folder)
    listed = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "task.yaml"}
    assert set(json.loads((folder / MANIFEST_FILE).read_text())["sha256"]) == listed
    assert Predictor.load(str(folder)).predict("w1")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "task.yaml"])
def test_every_damage_is_noticed_before_anything_is_predicted(folder: Path, name: str, damage: str) -> None:
    DAMAGES[damage](folder / name)
    assert not holds_whole_model(folder)
    loads = (Predictor.load, lambda path: PretrainedEncoder(locate_model(path), get_task("cola")))
    for load in loads:
        with pytest.raises(InputError, match="model: ") as refusal:
            load(str(folder))
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", ["", "[]", '{"sha256": 3}', "{}"])
def test_a_broken_list_of_checksums_is_a_damage(folder: Path, content: str) -> None:
    (folder / MANIFEST_FILE).write_text(content)
    with pytest.raises(InputError, match=r"cannot be read|was not written to its end"):
        Predictor.load(str(folder))


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["a folder", "a pipe"])
def test_a_list_of_checksums_that_is_no_file_is_a_damage(folder: Path, make: Callable[[Path], None]) -> None:
    (folder / MANIFEST_FILE).unlink()
    make(folder / MANIFEST_FILE)
    with pytest.raises(InputError, match="is no file"):
        Predictor.load(str(folder))


def test_writing_that_was_broken_off_is_known(tiny_model: Path, tmp_path: Path) -> None:
    def stop_half_way() -> None:
        with write_manifest(tmp_path / "model"):
            shutil.copytree(tiny_model, tmp_path / "model", dirs_exist_ok=True)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_half_way()
    assert find_damage(tmp_path / "model") == f"{tmp_path / 'model'} was not written to its end"


def test_a_folder_of_an_earlier_version_is_read(folder: Path) -> None:
    (folder / MANIFEST_FILE).unlink()
    assert Predictor.load(str(folder)).predict("w1")
