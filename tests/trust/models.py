"""Models and tokenizers that do not fit one another, texts that are too long, folders that are broken."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.trust.case import Case, Outcome

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "</s>", *(f"w{i}" for i in range(60))]
SIZES = {
    "vocab_size": len(PIECES), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32, "initializer_range": 0.3,
}  # fmt: skip
BART = {
    "vocab_size": len(PIECES), "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
    "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 3,
    "forced_eos_token_id": 3,
}  # fmt: skip
GPT2 = {
    "vocab_size": len(PIECES), "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64, "bos_token_id": 4,
    "eos_token_id": 4,
}  # fmt: skip
XLNET = {
    "vocab_size": len(PIECES),
    "d_model": 16,
    "n_layer": 1,
    "n_head": 2,
    "d_inner": 32,
    "pad_token_id": 0,
}
OPT = {**SIZES, "word_embed_proj_dim": 16, "ffn_dim": 32, "pad_token_id": 0, "bos_token_id": 2}
BERT = {**SIZES, "pad_token_id": 0, "max_position_embeddings": 64}
LLAMA = {**SIZES, "num_key_value_heads": 1, "bos_token_id": 4, "eos_token_id": 4}
CAUSAL = {"eos_token": "</s>", "ends": False}
THREE = {"num_labels": 3}
RIGHT = "as it should be"
UNITS = "tests/unit/dps/models/"
PREVIEW = "tests/unit/dps/training/test_preview.py::"
READ_WHOLE = "test_texts_are_read_whole_where_the_model_can_and_those_that_are_cut_are_counted"


def _tokenizer(ends: bool = True, **tokens: Any) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(PIECES)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    if ends:
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
    names = {"pad_token": "[PAD]", "model_input_names": ["input_ids", "attention_mask"]}
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", **(names | tokens))


def _save(folder: Path, kind: str, sizes: dict[str, Any], **tokens: Any) -> str:
    """Save a model, a classifier where it has labels, and a tokenizer; return the folder's name."""
    import torch
    import transformers

    torch.manual_seed(0)
    auto = (
        transformers.AutoModelForSequenceClassification if "num_labels" in sizes else transformers.AutoModel
    )
    auto.from_config(transformers.AutoConfig.for_model(kind, **sizes)).save_pretrained(folder / "model")
    _tokenizer(**tokens).save_pretrained(folder / "model")
    return "model"


def _write_task(folder: Path, words: Sequence[int] = (3, 43, 83), pair: bool = False) -> None:
    """Write own.yaml and a.csv: 24 examples of three classes, with so many words each."""
    rows = [" ".join(f"w{(i + j) % 60}" for j in range(words[i % len(words)])) for i in range(24)]
    texts = [f"{row},w{i}" for i, row in enumerate(rows)] if pair else rows
    lines = [f"{text},{'abc'[i % 3]}" for i, text in enumerate(texts)]
    (folder / "a.csv").write_text("\n".join(["text,other,label" if pair else "text,label", *lines]))
    columns = "[text, other]" if pair else "text"
    (folder / "own.yaml").write_text(f"name: own\ncolumns: {columns}\nlabels: [a, b, c]\nfiles: a.csv\n")


def _plan(
    kind: str,
    sizes: dict[str, Any],
    *options: str,
    words: Sequence[int] = (3, 43, 83),
    pair: bool = False,
    change: Callable[[Path], object] | None = None,
    **tokens: Any,
) -> Callable[[Path], Sequence[str]]:
    """Return what writes a model and a task, and asks for the plan."""

    def prepare(folder: Path) -> Sequence[str]:
        _write_task(folder, words, pair)
        model = _save(folder, kind, sizes, **tokens)
        if change is not None:
            change(folder / model)
        shown = ("--dry-run", "--tracking-uri", "none", "--max-steps", "8")
        return ["tune/search.py", "--task", "own.yaml", "--model", model, *shown, *options]

    return prepare


def _predict(
    kind: str,
    sizes: dict[str, Any],
    code: str = "",
    change: Callable[[Path], object] | None = None,
    **tokens: Any,
) -> Callable[[Path], Sequence[str]]:
    """Return what writes a classifier and predicts, on the command line or by code on `predictor`."""

    def prepare(folder: Path) -> Sequence[str]:
        model = _save(folder, kind, sizes | THREE, **tokens)
        if change is not None:
            change(folder / model)
        if not code:
            return ["-m", "dps.predict", "--model", model, "--text", "w1 w2"]
        start = (
            f"import numpy as np\nfrom dps.predict import Predictor\npredictor = Predictor.load({model!r})\n"
        )
        return ["-c", f"{start}{code}\nprint({RIGHT!r})"]

    return prepare


def _change(file: str, **values: Any) -> Callable[[Path], object]:
    """Return what sets these values in a JSON file of a model's folder."""

    def change(folder: Path) -> None:
        document = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**document, **values}))

    return change


def _refuses(*words: str) -> Callable[[Outcome], bool]:
    """Return a check that the answer is one line with these words, apart from a progress bar."""

    def check(outcome: Outcome) -> bool:
        *others, line = outcome.output.strip().splitlines() or [""]
        is_alone = all("Writing model shards" in other for other in others if other)
        return outcome.code == 2 and is_alone and all(word in line for word in ("error: ", *words))

    return check


def _says(*words: str) -> Callable[[Outcome], bool]:
    return lambda outcome: outcome.code == 0 and all(word in outcome.output for word in words)


def _raises(*words: str) -> Callable[[Outcome], bool]:
    """Return a check that the last line is an InputError with these words."""

    def check(outcome: Outcome) -> bool:
        last = outcome.output.strip().rpartition("\n")[2]
        return outcome.code == 1 and "InputError: " in last and all(word in last for word in words)

    return check


_is_right = _says(RIGHT)
ALONE = """
def probabilities(texts):
    return [list(answer["probabilities"].values()) for answer in predictor.predict(texts)]
texts = [("w1",), ("w1 w2 w3 w4 w5 w6",), ("w7 w8 w9",)]
assert np.allclose(probabilities(texts), [probabilities([text])[0] for text in texts], atol=1e-4)
"""
SEEDS = """
import dps
from dps.methods import Vanilla
heads = []
for seed in (1, 2):
    config = dps.FineTuneConfig(task="own.yaml", model="model", seed=seed, data_seed=0, max_steps=1,
        evaluations=1, learning_rate=1e-12, method=Vanilla())
    heads.append(dps.finetune(config).model.classifier.weight)
assert not (heads[0] - heads[1]).abs().max() < 1e-6, "both seeds begin with the same head"
"""
TUNE = """
import dps
from dps.methods import Vanilla
config = dps.FineTuneConfig(task="own.yaml", model="model", max_steps=2, evaluations=1, method=Vanilla())
result = dps.finetune(config)
"""


OPEN_BEST = """
import json
from pathlib import Path
best = Path("best")
weights = best / "model.safetensors"
content = weights.read_bytes()
"""


def _code(code: str, words: Sequence[int] = (3, 43, 83), **sizes: Any) -> Callable[[Path], Sequence[str]]:
    """Return what writes a BERT and a task, and runs code."""

    def prepare(folder: Path) -> Sequence[str]:
        _write_task(folder, words)
        _save(folder, "bert", {**BERT, "max_position_embeddings": 1024, **sizes})
        return ["-c", f"{code}\nprint({RIGHT!r})"]

    return prepare


def _damage(damage: str) -> Callable[[Path], Sequence[Sequence[str]]]:
    """Return what saves a fine-tuned model, damages its folder by code after `OPEN_BEST`, and predicts."""

    def prepare(folder: Path) -> Sequence[Sequence[str]]:
        _write_task(folder)
        _save(folder, "bert", {**BERT, "max_position_embeddings": 128})
        harm = f"{OPEN_BEST}{damage}"
        return [
            ["-c", f"{TUNE}result.save('best')"],
            ["-c", harm],
            ["-m", "dps.predict", "--model", "best", "--text", "w1"],
        ]

    return prepare


def _init_task(folder: Path) -> Sequence[str]:
    rows = [f"{'word ' * (600 if i % 3 == 0 else 5)}{i},{'ab'[i % 2]}" for i in range(60)]
    (folder / "long.csv").write_text("\n".join(["text,label", *rows]))
    return ["tune/search.py", "--init-task", "long.csv"]


def _own_code(folder: Path) -> None:
    (folder / "own.py").write_text("open('ran', 'w')\nprint('code of the tokenizer runs')\n")
    own = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
    _change("tokenizer_config.json", **own)(folder)


def _never_ran(outcome: Outcome) -> bool:
    asked = "custom code? [y/N]" in outcome.output or "EOF" in outcome.output
    return outcome.code in (0, 2) and not asked and not (outcome.folder / "ran").exists()


def _break_weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = {
        name: tensor * float("nan") for name, tensor in load_file(folder / "model.safetensors").items()
    }
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _write(folder: Path, file: str, content: str) -> None:
    (folder / file).write_text(content)


FIT = (
    (
        "pad token 1 in config, 0 in tokenizer",
        _plan("llama", {**LLAMA, "pad_token_id": 1}, **CAUSAL),
        _refuses("pads with token 1", "tokenizer with 0"),
    ),
    (
        "pad token in config alone",
        _plan("llama", {**LLAMA, "pad_token_id": 4}, pad_token=None, **CAUSAL),
        _says("none"),
    ),
    (
        "ten tokens without embedding",
        _plan("bert", {**BERT, "vocab_size": len(PIECES) - 10}),
        _refuses("tokens up to 64", "embeds 55"),
    ),
    (
        "a tokenizer without attention mask",
        _plan("bert", BERT, model_input_names=["input_ids"]),
        _refuses("share a batch"),
    ),
    (
        "second texts of a kind that the model lacks",
        _plan(
            "bert",
            {**BERT, "type_vocab_size": 1},
            pair=True,
            words=(3, 9),
            model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        ),
        _refuses("token_type_ids up to 1"),
    ),
    ("weights that are not numbers", _plan("bert", BERT, change=_break_weights), _refuses("loss", "nan")),
    (
        "a head of equal size from elsewhere, in the plan",
        _plan("bert", BERT | THREE),
        _says("head", "starts anew"),
    ),
)
LENGTHS = (
    ("64 positions, no --max-length", _plan("bert", BERT), _says("cut at 64 tokens")),
    (
        "64 positions, --max-length 128",
        _plan("bert", BERT, "--max-length", "128"),
        _refuses("takes at most 64"),
    ),
    (
        "64 positions, --max-length 65",
        _plan("bert", BERT, "--max-length", "65"),
        _refuses("takes at most 64"),
    ),
    (
        "BART of 64, --max-length 80",
        _plan("bart", {**BART, "max_position_embeddings": 64}, "--max-length", "80"),
        _refuses("takes at most 64"),
    ),
    (
        "BART of 64, no --max-length",
        _plan("bart", {**BART, "max_position_embeddings": 64}),
        _says("cut at 64 tokens"),
    ),
    (
        "OPT of 64, --max-length 66",
        _plan("opt", {**OPT, "max_position_embeddings": 64}, "--max-length", "66"),
        _refuses("takes at most 64"),
    ),
    (
        "RoFormer of 64, --max-length 66",
        _plan("roformer", {**BERT, "embedding_size": 16}, "--max-length", "66"),
        _refuses("takes at most 64"),
    ),
    (
        "RoBERTa of 66, --max-length 66",
        _plan("roberta", {**BERT, "max_position_embeddings": 66}, "--max-length", "66"),
        _refuses("takes at most 65"),
    ),
    (
        "texts of 200 words, no --max-length",
        _plan("bert", {**BERT, "max_position_embeddings": 1024}, words=(3, 200)),
        _says("none has more than 208 tokens"),
    ),
    (
        "texts of 602 words, no --max-length",
        _plan("bert", {**BERT, "max_position_embeddings": 1024}, words=(602,)),
        _says("cut at 512 tokens"),
    ),
    (
        "texts of 40 words, --max-length 16",
        _plan("bert", BERT, "--max-length", "16", words=(3, 40)),
        _says("cut at 16 tokens"),
    ),
    ("texts of 600 words, --init-task", _init_task, _says("cut at 512 tokens: 20 of 60")),
    (
        "texts of 200 words, dps.finetune",
        _code(f"{TUNE}assert result.max_length >= 202, result.max_length", words=(3, 200)),
        _is_right,
    ),
    (
        "texts of 602 words, dps.finetune",
        _code(f"{TUNE}assert any('tokens' in w for w in result.warnings)", words=(602,)),
        _is_right,
    ),
)
PREDICT = (
    ("a text of XLNet", _predict("xlnet", XLNET), _says("probabilities")),
    (
        "90 tokens of RoBERTa's 64",
        _predict(
            "roberta",
            {**BERT, "max_position_embeddings": 66},
            "predictor.predict([(' '.join(f'w{i}' for i in range(60)) + ' w1' * 30,)])",
        ),
        _is_right,
    ),
    ("GPT-2 without a padding token", _predict("gpt2", GPT2, ALONE, pad_token=None, **CAUSAL), _is_right),
    (
        "GPT-2 that pads on the left",
        _predict("gpt2", GPT2, ALONE, padding_side="left", pad_token=None, **CAUSAL),
        _is_right,
    ),
    ("XLNet that pads on the right", _predict("xlnet", XLNET, ALONE), _is_right),
    ("RoBERTa that pads on the left", _predict("roberta", BERT, ALONE, padding_side="left"), _is_right),
    (
        "Llama with another padding token",
        _predict("llama", {**LLAMA, "pad_token_id": 1}, ALONE, **CAUSAL),
        _raises("pads with token 1"),
    ),
    ("one text", _predict("bert", BERT, "assert len(predictor.predict('w1 w2')) == 1"), _is_right),
    (
        "texts of two letters",
        _predict(
            "bert", BERT, "assert predictor.predict(['w1', 'w2']) == predictor.predict([('w1',), ('w2',)])"
        ),
        _is_right,
    ),
    (
        "a list of texts",
        _predict(
            "bert",
            BERT,
            "assert predictor.predict(['w1 w2 w3', 'w4']) == predictor.predict([('w1 w2 w3',), ('w4',)])",
        ),
        _is_right,
    ),
    *(
        (
            name,
            _predict("bert", BERT, f"import pandas as pd\npredictor.predict({value})"),
            _raises("must be a text or a list of examples", kind),
        )
        for name, value, kind in (
            ("a dict", "{'text': 'w1'}", "dict"),
            ("a set", "{'w1', 'w2'}", "set"),
            ("a table of pandas", "pd.DataFrame({'text': ['w1']})", "DataFrame"),
            ("bytes", "b'w1'", "bytes"),
            ("None", "None", "NoneType"),
        )
    ),
    (
        "half a surrogate pair",
        _predict("bert", BERT, "predictor.predict(['w1' + chr(0xd83d)])"),
        _raises("example 0", "surrogate"),
    ),
    (
        "two classes of one name",
        _predict("bert", BERT, change=_change("config.json", id2label={"0": "a", "1": "a", "2": "b"})),
        _refuses("two classes have the name 'a'"),
    ),
    (
        "None among texts",
        _predict("bert", BERT, "predictor.predict(['w1', None])"),
        _raises("example 1", "None"),
    ),
)
FOLDERS = (
    ("no tokenizer", lambda model: (model / "tokenizer.json").unlink(), _refuses("no tokenizer")),
    (
        "a broken tokenizer.json",
        partial(_write, file="tokenizer.json", content='{"version"'),
        _refuses("cannot be loaded"),
    ),
    (
        "an empty tokenizer.json",
        partial(_write, file="tokenizer.json", content=""),
        _refuses("cannot be loaded"),
    ),
    ("a tokenizer with code of its own", _own_code, _never_ran),
    ("1e8 words in config.json", _change("config.json", vocab_size=10**8), _refuses()),
    (
        "1e7 layers in config.json",
        _change("config.json", num_hidden_layers=10**7),
        _refuses(),
    ),
    (
        "2e7 kinds of texts in config.json",
        _change("config.json", type_vocab_size=2 * 10**7),
        _refuses(),
    ),
    ("1e7 labels in config.json", _change("config.json", num_labels=10**7), _refuses()),
)
DAMAGES = {
    "weights cut short": "weights.write_bytes(content[:-9])",
    "weights of 0 bytes": "weights.write_bytes(b'')",
    "one bit of the weights flipped": "weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))",
    "its tokenizer's settings gone": "(best / 'tokenizer_config.json').unlink()",
    "labels in another order": (
        "config = json.loads((best / 'config.json').read_text())\n"
        "config['id2label'] = {'0': 'c', '1': 'b', '2': 'a'}\n"
        "(best / 'config.json').write_text(json.dumps(config))"
    ),
}

CASES = [
    *(
        Case("model and tokenizer", name, prepare, right, f"{UNITS}test_agreement.py")
        for name, prepare, right in FIT
    ),
    *(Case("text length", name, prepare, right, PREVIEW + READ_WHOLE) for name, prepare, right in LENGTHS),
    *(
        Case("predict", f"predict: {name}", prepare, right, "tests/unit/dps/test_predict.py")
        for name, prepare, right in PREDICT
    ),
    *(
        Case(
            "model folder",
            f"predict: {name}",
            _predict("bert", BERT, change=change),
            right,
            f"{UNITS}test_draft.py",
            20,
        )
        for name, change, right in FOLDERS
    ),
    *(
        Case(
            "model folder",
            f"plan: {name}",
            _plan("bert", BERT, change=change),
            right,
            f"{UNITS}test_draft.py",
            20,
        )
        for name, change, right in FOLDERS
    ),
    *(
        Case(
            "damaged model",
            f"predict: {name}",
            _damage(damage),
            _refuses("model: "),
            f"{UNITS}test_manifest.py",
        )
        for name, damage in DAMAGES.items()
    ),
    Case(
        "head",
        "a head of equal size from elsewhere, two seeds",
        _code(SEEDS, num_labels=3),
        _is_right,
        f"{UNITS}test_models.py::test_a_head_of_equal_size_from_elsewhere_starts_anew",
    ),
    Case(
        "model folder",
        "predict: a Llama tokenizer with code of its own",
        _predict("llama", {**LLAMA, "pad_token_id": 0}, change=_own_code, **CAUSAL),
        _never_ran,
        f"{UNITS}test_draft.py::test_code_that_comes_with_a_model_is_never_run",
    ),
]
