"""Folders that are refused before any weight is read, each with one line."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dps.errors import InputError
from dps.models import ModelDraft, load_finetuned_model, locate_model
from tests import families, tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a tiny classifier."""
    families.classifier("bert").save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"vocab_size": 10**8}, "asks for 1,600,.* weights, but its files hold "),
        ({"type_vocab_size": 10**9}, "asks for 16,000,"),
        ({"intermediate_size": 10**9}, "asks for 66,000,"),
        ({"max_position_embeddings": 10**11}, "asks for 1,600,000,"),
        ({"num_hidden_layers": 10**7}, "has num_hidden_layers 10000000, and at most 10,000 are built"),
        ({"num_labels": 10**9}, "has num_labels 1000000000, and at most"),
        ({"text_config": {"n_layer": 10**7}}, "has n_layer 10000000, and at most"),
    ],
)
def test_a_configuration_that_asks_for_too_much_is_refused_by_arithmetic(
    folder: Path, changes: dict[str, Any], says: str
) -> None:
    change(folder / "config.json", **changes)
    with pytest.raises(InputError, match=says):
        load_finetuned_model(str(folder))


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"version": "1.0"}'])
def test_a_tokenizer_that_is_missing_or_broken_is_refused(folder: Path, content: str | None) -> None:
    if content is None:
        (folder / "tokenizer.json").unlink()
    else:
        (folder / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match=r"no tokenizer|cannot be loaded") as refusal:
        load_finetuned_model(str(folder))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_a_model_is_never_run(
    folder: Path, file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    code = {"AutoConfig": "own.C", "AutoTokenizer": ["own.T", None]}
    own_class = {"config.json": {"model_type": "own"}, "tokenizer_config.json": {"tokenizer_class": "T"}}
    change(folder / file, auto_map=code, **own_class[file])
    monkeypatch.setattr("builtins.input", lambda *asked: pytest.fail("it asks"))
    with suppress(InputError):  # the tokenizer can do without its code
        load_finetuned_model(str(folder))
    assert not (tmp_path / "ran").exists()


def test_variants_beside_the_weights_are_neither_counted_nor_fingerprinted(folder: Path) -> None:
    found = locate_model(str(folder))
    known = found.count_parameters(), found.fingerprint()
    for name in ("model.fp16.safetensors", "consolidated.safetensors", "adapter_model.safetensors"):
        shutil.copy(folder / "model.safetensors", folder / name)
    assert (found.count_parameters(), found.fingerprint()) == known
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model\.safetensors, but adapter_model\.safetensors, "):
        locate_model(str(folder))


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ({"weight_map": {"a": "../model.safetensors"}}, "must name .* in its own folder"),
        ({"weight_map": {"a": "part.safetensors"}}, r"names part\.safetensors, which is missing"),
        ({}, "must name .* in its own folder"),
    ],
)
def test_an_index_names_files_that_are_there(folder: Path, index: dict[str, Any], says: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=says):
        locate_model(str(folder))


def test_a_draft_holds_no_values(folder: Path) -> None:
    draft = ModelDraft.read(locate_model(str(folder)), {})
    assert {parameter.device.type for parameter in draft.skeleton.parameters()} == {"meta"}
    assert draft.max_tokens == 64
