"""Models: where they are found, what is refused, how their heads begin."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from dps import models
from dps.errors import InputError
from dps.models import PretrainedEncoder, locate_model
from dps.tasks import registry
from tests import families, tiny

COLA, MNLI, STSB = (registry.get_task(name) for name in ("cola", "mnli", "stsb"))
HEAD = ["classifier.bias", "classifier.weight"]


def test_the_builtin_model_is_located_without_importing_its_package() -> None:
    code = (
        "import sys; from dps.models import locate_model; folder = locate_model('builtin');"
        "assert (folder.path / 'config.json').is_file();"
        "assert not any(name.startswith('gt_all') for name in sys.modules);"
        "print(folder.kind, folder.name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["builtin", "builtin"]


def test_a_builtin_model_that_is_not_installed_is_refused_naming_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models.folder, "BUILTIN_MODEL_PACKAGE", "no-such-package")
    with pytest.raises(InputError, match="not installed; run: pip install no-such-package"):
        locate_model("builtin")


def test_a_folder_is_located_and_described(tiny_model: Path) -> None:
    folder = locate_model(str(tiny_model))
    assert (folder.kind, folder.name, folder.path) == ("folder", str(tiny_model), tiny_model.resolve())
    encoder = transformers.BertModel(transformers.BertConfig(**tiny.SIZES))
    assert folder.count_parameters() == sum(p.numel() for p in encoder.parameters())
    assert folder.read_dimensions() == (2, 16, 100)


def test_the_fingerprint_is_that_of_the_content(tiny_model: Path, tmp_path: Path) -> None:
    twin = shutil.copytree(tiny_model, tmp_path / "twin")
    assert locate_model(str(twin)).fingerprint() == locate_model(str(tiny_model)).fingerprint()
    weights = twin / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert locate_model(str(twin)).fingerprint() != locate_model(str(tiny_model)).fingerprint()


@pytest.mark.parametrize("pickled", [None, "pytorch_model.bin"])
def test_a_folder_without_safetensors_is_refused_naming_what_to_do(
    tiny_model: Path, tmp_path: Path, pickled: str | None
) -> None:
    shutil.copy(tiny_model / "config.json", tmp_path)
    if pickled:
        torch.save({"weight": torch.ones(1)}, tmp_path / pickled)
    with pytest.raises(
        InputError, match=r"has no \*\.safetensors; pickled weights are not read, convert them"
    ):
        locate_model(str(tmp_path))


def test_a_folder_that_is_no_model_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no config\.json; give a transformers model"):
        locate_model(str(tmp_path))
    with pytest.raises(InputError, match="model: there is no folder"):
        locate_model(str(tmp_path / "missing"))


def test_the_head_depends_on_the_seed_and_the_encoder_does_not(tiny_base: PretrainedEncoder) -> None:
    assert tiny_base.new_parameters == HEAD
    torch.manual_seed(1)
    one = tiny_base.build(seed=3, dropout=0.0).state_dict()
    torch.manual_seed(2)
    again, other = tiny_base.build(3, 0.1).state_dict(), tiny_base.build(4, 0.0).state_dict()
    assert tiny.same(one, dict(again))
    assert [name for name in one if not torch.equal(one[name], other[name])] == ["classifier.weight"]
    assert not one["classifier.bias"].any()
    assert one["classifier.weight"].std() == pytest.approx(0.2, rel=0.5)  # initializer_range


def test_the_encoder_is_the_pretrained_one(tiny_base: PretrainedEncoder, tiny_model: Path) -> None:
    encoder = transformers.BertModel.from_pretrained(tiny_model)
    assert tiny.same(dict(encoder.state_dict()), dict(tiny_base.build(0, 0.0).bert.state_dict()))


def test_building_leaves_the_global_random_state_and_earlier_models_alone(
    tiny_base: PretrainedEncoder,
) -> None:
    torch.manual_seed(5)
    before, seed = torch.get_rng_state(), torch.initial_seed()
    first = tiny_base.build(0, 0.0)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.initial_seed() == seed
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert tiny_base.build(0, 0.0).classifier.weight.any()


def test_a_copy_made_beforehand_is_as_good_and_used_once(tiny_base: PretrainedEncoder) -> None:
    at_once = tiny_base.build(3, 0.1)
    tiny_base.prepare_copy()
    tiny_base.prepare_copy()
    prepared, next_one = tiny_base.build(3, 0.1), tiny_base.build(3, 0.1)
    assert prepared is not next_one
    assert tiny.same(tiny.snapshot(prepared), tiny.snapshot(at_once))
    with torch.no_grad():
        prepared.classifier.weight.zero_()
    assert tiny.same(tiny.snapshot(next_one), tiny.snapshot(at_once))


def test_the_head_fits_the_task(tiny_model: Path) -> None:
    folder = locate_model(str(tiny_model))
    three = PretrainedEncoder(folder, MNLI).build(0, 0.0)
    assert three.classifier.out_features == 3
    assert three.config.id2label == {0: "entailment", 1: "neutral", 2: "contradiction"}
    assert three.config.label2id == {"entailment": 0, "neutral": 1, "contradiction": 2}
    one = PretrainedEncoder(folder, STSB).build(0, 0.0)
    assert one.classifier.out_features == 1
    assert one.config.problem_type == "regression"


def test_a_head_for_another_task_starts_anew(tiny_model: Path, tmp_path: Path) -> None:
    PretrainedEncoder(locate_model(str(tiny_model)), MNLI).build(0, 0.0).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    base = PretrainedEncoder(locate_model(str(tmp_path)), COLA)
    assert base.new_parameters == HEAD
    weights = [base.build(seed, 0.0).classifier.weight for seed in (0, 0, 1)]
    assert weights[0].shape == (2, 16)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("name", ["bert", "roberta", "deberta", "modernbert", "gpt2"])
def test_a_head_of_equal_size_from_elsewhere_starts_anew(name: str, tmp_path: Path) -> None:
    families.classifier(name).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    base = PretrainedEncoder(locate_model(str(tmp_path)), MNLI)
    assert base.replaces_head
    assert set(base.new_parameters) == families.HEADS[name]
    one, again, other = (dict(base.build(seed, 0.0).named_parameters()) for seed in (0, 0, 1))
    assert tiny.same(one, again)
    changed = {name for name in one if not torch.equal(one[name], other[name])}
    assert changed == {name for name in families.HEADS[name] if one[name].ndim > 1}


def test_a_pretrained_head_is_kept_where_its_classifier_is_new(tmp_path: Path) -> None:
    config = families.CONFIGURATIONS["modernbert"]()
    families.made(transformers.AutoModelForMaskedLM, config).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    base = PretrainedEncoder(locate_model(str(tmp_path)), MNLI)
    assert (base.replaces_head, base.new_parameters) == (False, HEAD)


RATE = 0.3
SMALL = {"vocab_size": 100, "pad_token_id": 0, "num_labels": 2}
BERT_LIKE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "hidden_dropout_prob": RATE,
    "attention_probs_dropout_prob": RATE,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "bert": BERT_LIKE,
    "roberta": BERT_LIKE,
    "electra": {**BERT_LIKE, "embedding_size": 16, "summary_last_dropout": RATE},
    "deberta-v2": {**BERT_LIKE, "pooler_dropout": RATE, "relative_attention": True, "pooler_hidden_size": 16},
    "xlnet": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32, "dropout": RATE},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "embd_pdrop": RATE, "resid_pdrop": RATE},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "dropout": RATE},
    "bart": {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "dropout": RATE,
        "attention_dropout": RATE,
        "activation_dropout": RATE,
    },
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_dropout_is_set_everywhere(architecture: str) -> None:
    positions = {} if architecture == "xlnet" else {"max_position_embeddings": 64}
    sizes = {**SMALL, **positions, **ARCHITECTURES[architecture]}
    config = transformers.AutoConfig.for_model(architecture, **sizes)
    model = transformers.AutoModelForSequenceClassification.from_config(config).train()
    tokens = torch.randint(4, 100, (4, 7))
    tokens[:, -1] = 2  # BART classifies by its end token

    def differs() -> bool:
        with torch.no_grad():
            return not torch.equal(model(input_ids=tokens).logits, model(input_ids=tokens).logits)

    assert differs()
    models.set_dropout(model, 0.0)
    assert not differs()
    assert all(module.p == 0.0 for module in model.modules() if isinstance(module, nn.Dropout))
    models.set_dropout(model, 0.2)
    assert differs()


def test_reading_a_model_leaves_the_verbosity_of_transformers_alone(tiny_model: Path) -> None:
    before = transformers.utils.logging.get_verbosity()
    PretrainedEncoder(locate_model(str(tiny_model)), COLA)
    assert transformers.utils.logging.get_verbosity() == before
