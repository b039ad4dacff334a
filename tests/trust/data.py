"""Data files, task files and labels in the forms that people have them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.trust.case import Case, Outcome

COMPATIBLE = """
import sys, json, numpy as np
from pathlib import Path
try:
    from dps.sources import open_data_source
    from dps.tasks.registry import get_task
    from dps.training.data import TaskData, split_holdout
    from dps.training.tokens import TokenCache
    from dps.models import locate_model
except ImportError:  # names of older versions
    from dps.sources import open_source as open_data_source
    from dps.tasks import get as get_task
    from dps.data import TaskData, holdout as split_holdout
    from dps.tokens import TokenCache
    from dps.models import locate as locate_model
def load(file="own.yaml", split="train", data=None):
    task = get_task(file)
    return open_data_source(data, task).load(task, split)
def labels(*given, **named):
    return json.dumps(np.asarray(load(*given, **named)["label"]).tolist())
def encode(file, data=None, cache=None, planned=None):
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(locate_model("builtin").path)
    task = get_task(file)
    source = open_data_source(data, task)
    made = TaskData(task, source, tokenizer, 32, cache, planned)
    return getattr(made, "get_split", None) or made.split
def slices():
    made = encode("own.yaml")("train")
    for seed in range(20):
        yield [part for part in split_holdout(get_task("own.yaml"), made, 0.2, seed)]
def plan():
    task = get_task("own.yaml")
    source = open_data_source("x", task)
    try:
        from dps.sources.examples import fingerprint_examples
    except ImportError:
        return source.fingerprint(task)
    return {split: fingerprint_examples(task, source.load(task, split)) for split in task.splits}
"""
PLAN = ["tune/search.py", "--task", "own.yaml", "--dry-run", "--tracking-uri", "none", "--model", "builtin",
        "--max-steps", "8"]  # fmt: skip
LABELS = "tests/unit/dps/sources/test_labels.py::"
PROPOSE = "tests/unit/dps/test_propose.py::test_what_is_proposed_is_what_a_search_reads"
REFUSED = "tests/unit/dps/test_propose.py::test_what_cannot_be_proposed_is_said_in_one_line"
TOKENS = "tests/unit/dps/training/test_tokens.py::"
DATA = "tests/unit/dps/training/test_data.py::"

Commands = Sequence[str] | Sequence[Sequence[str]]
Right = Callable[[Outcome], bool]
AB = ("a", "b") * 20


def text(number: int) -> str:
    return f"a text of some words number {number}"


def table(header: str, labels: Sequence[object], separator: str = ",") -> str:
    rows = [f"{text(number)}{separator}{label}" for number, label in enumerate(labels)]
    return "\n".join([header, *rows]) + "\n"


def lines(labels: Sequence[object], key: str = "label") -> str:
    return "\n".join(json.dumps({"text": text(n), key: label}) for n, label in enumerate(labels)) + "\n"


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def says(*parts: str, code: int = 0, but: str = "\0") -> Right:
    return lambda outcome: (
        outcome.code == code
        and all(part in outcome.output for part in parts)
        and but not in outcome.output
        and "Traceback" not in outcome.output
    )


def refused(*parts: str) -> Right:
    return says(*parts, code=2)


def case(
    kind: str,
    name: str,
    files: dict[str, str | bytes],
    command: Commands,
    right: Right,
    test: str | None = None,
) -> Case:
    def prepare(folder: Path) -> Commands:
        write(folder, files)
        return command

    return Case(kind, name, prepare, right, test)


def own(**keys: Any) -> str:
    """A task file. YAML takes JSON."""
    return json.dumps({"name": "own", "columns": "text", **keys})


def code(statements: str) -> list[str]:
    return ["-c", COMPATIBLE + statements]


def proposal(
    name: str, file: str, content: str | bytes, right: Right, test: str = PROPOSE, plan: bool = False
) -> Case:
    """A file of which a task is proposed; with `plan` the proposal is planned too."""
    stem = Path(file).stem
    commands: list[Sequence[str]] = [["tune/search.py", "--init-task", file]]
    if plan:
        commands.append(["-c", f"print(open('{stem}.yaml').read())"])
        commands.append([*PLAN[:2], f"{stem}.yaml", *PLAN[3:]])
    return case("proposals", name, {file: content}, commands, right, test)


def reading(
    name: str,
    labels: list[str],
    values: Sequence[object],
    right: Right,
    multi_label: bool = False,
    test: str = "",
) -> Case:
    """How the labels of a file are read."""
    kind = "multi-label" if multi_label else "classification"
    files: dict[str, str | bytes] = {
        "own.yaml": own(kind=kind, labels=labels, files={"train": "a.jsonl", "dev": "a.jsonl.dev.jsonl"}),
        "a.jsonl": lines(values),
        "a.jsonl.dev.jsonl": lines(values),
    }
    command = code(
        "from dps.errors import InputError\n"
        "try: print('read as', labels())\n"
        "except InputError as error: sys.exit(f'refused: {error}')"
    )
    return case("labels", name, files, command, right, LABELS + test)


def _not_read(*parts: str) -> Right:
    return says("refused:", *parts, code=1)


MOODS, TOPICS = ["negative", "neutral", "positive"], ["bug", "billing", "praise"]
STARS = ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"]
MEANS, TWO, SPOTS = (
    "test_a_label_is_the_class_that_it_can_only_mean",
    "test_a_label_that_may_mean_two_things_is_refused",
    "test_lists_of_0_and_1_are_indicators_and_never_ids",
)
READINGS = [
    reading(
        "ints beside names that are floats", ["1.0", "2.0", "3.0"], [1, 2, 3], says("[0, 1, 2]"), test=MEANS
    ),
    reading(
        "names that are numbers, spelled otherwise", ["5", "0"], ["5.0", 0.0], says("[0, 1]"), test=MEANS
    ),
    reading("stars as numbers", STARS, [1, 2, 3, 4] * 3, _not_read("label 1 is not one of"), test=TWO),
    reading("moods as 1 and 2", MOODS, [1, 2] * 6, _not_read("begin at 0"), test=TWO),
    reading("moods as 0, 1, 2", MOODS, [0, 1, 2, "1", 2.0], says("[0, 1, 2, 1, 2]"), test=MEANS),
    reading("a name and an id", MOODS, ["negative", 1], _not_read("label 1 is not one of"), test=TWO),
    reading(
        "ids of twenty digits",
        ["12345678901234567890", "12345678901234567891"],
        [12345678901234567891],
        says("[1]"),
        test=MEANS,
    ),
    reading("floats as ids", ["no", "yes"], [0.0, 1.0], says("[0, 1]"), test=MEANS),
    reading(
        "indicator lists",
        TOPICS,
        [[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]],
        says("[[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]]"),
        True,
        SPOTS,
    ),
    reading(
        "indicator lists of floats",
        TOPICS,
        [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]],
        says("[[1, 0, 0], [0, 1, 1]]"),
        True,
        SPOTS,
    ),
    reading(
        "indicator lists of booleans",
        TOPICS,
        [[True, False, False], [False, True, True]],
        says("[[1, 0, 0], [0, 1, 1]]"),
        True,
        SPOTS,
    ),
    reading(
        "indicator lists of text",
        TOPICS,
        [["1", "0", "0"], ["0", "1", "1"]],
        says("[[1, 0, 0], [0, 1, 1]]"),
        True,
        SPOTS,
    ),
    reading(
        "indicator lists of another length",
        TOPICS,
        [[1, 0, 0, 1], [0, 1, 1, 0]],
        _not_read("twice"),
        True,
        "test_lists_that_may_mean_two_things_are_refused",
    ),
    reading(
        "lists of ids that begin at 1",
        TOPICS,
        [[1, 2], [2], [1]],
        _not_read("begin at 0"),
        True,
        "test_lists_that_may_mean_two_things_are_refused",
    ),
    reading(
        "lists of ids",
        TOPICS,
        [[0], [2], [0, 1], []],
        says("[[1, 0, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0]]"),
        True,
        SPOTS,
    ),
    reading(
        "an empty list among indicators",
        ["bug", "billing"],
        [[1, 0], [0, 1], []],
        _not_read("is empty, where others have 0 or 1"),
        True,
        "test_lists_that_may_mean_two_things_are_refused",
    ),
    reading(
        "a name in another form of its accent",
        ["caf\u00e9", "bar"],
        ["cafe\u0301", "bar"],
        _not_read("only looks like"),
        test=TWO,
    ),
    case(
        "labels",
        "the plan says that labels are ids",
        {"own.yaml": own(labels=MOODS, files="a.jsonl"), "a.jsonl": lines([0, 1, 2, 1] * 15)},
        PLAN,
        says("'negative' 1", "numbers are read as ids"),
        "tests/unit/dps/training/test_preview.py::"
        "test_a_preview_says_how_labels_were_read_and_what_dev_shares",
    ),
]

PROPOSALS = [
    proposal(
        "float labels in JSON", "a.jsonl", lines([0.0, 1.0] * 20), says("'0' 20 (50 %)", "data  "), plan=True
    ),
    proposal(
        "a label that is NaN", "a.jsonl", lines([*AB[:-1], float("nan")]), says("is missing", but="'nan'")
    ),
    proposal("a label that is null", "a.jsonl", lines([*AB[:-1], None]), says("label is missing")),
    proposal("a label column without a name", "a.csv", table("text,", AB), refused("no name"), REFUSED),
    proposal("Excel's sep= line", "a.csv", "sep=,\n" + table("text,label", AB), says("'a' 20"), plan=True),
    proposal(
        "Excel's sep=; line", "a.csv", "sep=;\n" + table("text;label", AB, ";"), says("'a' 20"), plan=True
    ),
    proposal("tabs in a .txt", "a.txt", table("text\tlabel", AB, "\t"), refused(".tsv"), REFUSED),
    proposal(
        "one number among texts",
        "a.jsonl",
        lines(AB) + '{"text": 5, "label": "a"}',
        says("'text'", "a.jsonl:41: column 'text' must be text"),
    ),
    proposal(
        "one null among texts",
        "a.jsonl",
        lines(AB) + '{"text": null, "label": "a"}',
        says("'text'", "a.jsonl:41: column 'text' must be text"),
    ),
    proposal(
        "half a surrogate pair",
        "a.jsonl",
        lines(AB).replace("number 5", "number 5\\ud83d"),
        says("surrogate"),
    ),
    proposal(
        "half a surrogate pair in a label",
        "a.jsonl",
        lines(["a", "b\ud83d"] * 20),
        refused("has half a surrogate pair"),
        "tests/unit/dps/tasks/test_definition.py::test_half_a_surrogate_pair_is_no_name",
    ),
    proposal(
        "a line end of Unicode in a label",
        "a.jsonl",
        lines(["a", "b\u0085b"] * 20),
        says("labels  "),
        "tests/unit/dps/tasks/test_definition.py::"
        "test_whatever_columns_and_labels_are_called_a_task_file_keeps_them",
        plan=True,
    ),
    proposal("no header", "a.csv", table(f"{text(99)},a", AB), says("header looks like a row")),
    proposal(
        "a column of numbers without a header",
        "a.csv",
        table("x,0.5", [n / 7 for n in range(40)]),
        says("header looks like a row"),
    ),
    proposal(
        "accents in two forms",
        "a.csv",
        table("text,label", ["caf\u00e9", "cafe\u0301"] * 20),
        says("differ in nothing that can be seen"),
    ),
    proposal(
        "a blank without a width",
        "a.csv",
        table("text,label", ["bar", "bar\u200b"] * 20),
        says("differ in nothing that can be seen"),
    ),
    proposal(
        "60 classes that are numbers",
        "a.csv",
        table("text,label", [*range(60)] * 5),
        says("60 classes", "labels  ", but="regression)"),
        plan=True,
    ),
    proposal(
        "77 classes",
        "a.csv",
        table("text,label", [f"c{n}" for n in range(77)] * 5),
        says("77 classes", "labels  "),
        plan=True,
    ),
    proposal(
        "Kaggle's empty columns",
        "a.csv",
        table("v2,v1,,,", [f"{x},,," for x in AB]),
        says("'a' 20"),
        plan=True,
    ),
    proposal("a suffix in capitals", "a.CSV", table("text,label", AB), says("'a' 20"), plan=True),
    proposal(
        "line ends of CR alone",
        "a.csv",
        table("text,label", AB).replace("\n", "\r"),
        says("'a' 20"),
        plan=True,
    ),
    proposal(
        "a field of 200,000 characters",
        "a.csv",
        table("text,label", AB).replace("number 3", "word " * 40_000),
        says("'a' 20"),
        plan=True,
    ),
    proposal(
        "a quote after a space",
        "a.csv",
        "label, text\n" + "".join(f'a, "some words {n}, indeed"\n' for n in range(12)),
        refused("a.csv:2: 3 columns where 2", "none of 12 rows"),
        REFUSED,
    ),
    proposal(
        "quotes in a .tsv",
        "a.tsv",
        "text\tlabel\n" + "".join(f'"some words {n}\tok"\ta\n' for n in range(12)),
        refused("a.tsv:2: 3 columns where 2", "quotes are ordinary"),
        REFUSED,
    ),
    proposal(
        "semicolons and decimal commas",
        "a.csv",
        table("text;score", ["3,5", "1,5"] * 20, ";"),
        refused("';'"),
        REFUSED,
    ),
    proposal(
        "decimal commas",
        "a.tsv",
        table("text\tscore", ["3,5", "4,5", "2"] * 12, "\t"),
        refused("commas in numbers", "3.5"),
        REFUSED,
    ),
    proposal(
        "a column of 0 and 1 for each label",
        "a.csv",
        table("text,bug,ui,praise", ["1,0,0", "0,1,1"] * 20),
        refused("hold 0 and 1 alone"),
        REFUSED,
    ),
    proposal(
        "lists written as text",
        "a.csv",
        table("text,tags", ["\"['bug', 'ui']\"", "['bug']", "['ui']"] * 12),
        refused("written as text"),
        REFUSED,
    ),
    proposal(
        "lists of 0 and 1",
        "a.jsonl",
        lines([[1, 0, 0], [0, 1, 1], [0, 0, 0]] * 12, "labels"),
        says("name the labels", but="'0' "),
    ),
    proposal(
        "gzip", "a.csv.gz", gzip.compress(table("text,label", AB).encode()), refused("unpack it"), REFUSED
    ),
    proposal(
        "a label that stands twice in an object of JSON",
        "a.jsonl",
        lines(AB).replace('"label": ', '"label": "c", "label": '),
        refused("appears twice", "label"),
        "tests/unit/dps/sources/test_folder.py",
    ),
    proposal(
        "the label in words beside the label",
        "a.csv",
        "text,label,label_text\n"
        + "".join(f"{text(n)},{n % 3},{('a bad', 'a dull', 'a good')[n % 3]} thing\n" for n in range(60)),
        says("not used     'label_text'"),
        "tests/unit/dps/test_propose.py::test_a_second_text_that_is_the_label_in_words_is_not_read",
    ),
    proposal(
        "gzip called .csv", "a.csv", gzip.compress(table("text,label", AB).encode()), refused("gzip"), REFUSED
    ),
]


def _columns(name: str, values: Sequence[object], right: Right, plan: bool) -> Case:
    """A parquet file with a label column of these values."""

    def prepare(folder: Path) -> Commands:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(
            pa.table({"text": [text(n) for n in range(40)], "label": values}), folder / "a.parquet"
        )
        commands = [["tune/search.py", "--init-task", "a.parquet"], [*PLAN[:2], "a.yaml", *PLAN[3:]]]
        return commands if plan else commands[:1]

    test = "tests/unit/dps/test_propose.py::test_columns_of_other_kinds_are_proposed_or_refused"
    return Case("proposals", name, prepare, right, test)


def _unfolding(folder: Path) -> Commands:
    """Write a parquet file of 2 MB that unfolds to 9 GB."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 9000
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["word " * 200_000]))
    pq.write_table(pa.table({"text": texts, "label": list(AB) * (rows // 40)}), folder / "a.parquet")
    (folder / "own.yaml").write_text(own(labels=["a", "b"], files="a.parquet"), encoding="utf-8")
    return PLAN


DEFINITIONS = {
    f"{label}.yaml": own(kind="regression", label=label).replace('"own"', '"essays"')
    for label in ("grammar", "style")
}
ESSAYS = "text,grammar,style\n" + "".join(f"{text(n)},{n % 5},{4 - n % 5}\n" for n in range(40))
TWINS = {
    "blanks": lambda n: f'"{text(n)} "',
    "blanks within": lambda n: text(n).replace(" ", "  "),
    "a blank without a width": lambda n: text(n) + "\u200b",
    "the form of an accent": lambda n: text(n).replace("e", "e\u0301"),
    "capitals": lambda n: text(n).upper(),
    "an HTML entity": lambda n: text(n).replace("text", "text &amp; more"),
}


def _split(name: str, twin: Callable[[int], str]) -> Case:
    first = (lambda n: text(n).replace("e", "\u00e9")) if "accent" in name else text
    if "entity" in name:
        first = lambda n: text(n).replace("text", "text & more")  # noqa: E731
    rows = "".join(f"{first(n)},{'ab'[n % 2]}\n{twin(n)},{'ab'[n % 2]}\n" for n in range(40))
    files: dict[str, str | bytes] = {
        "own.yaml": own(labels=["a", "b"], files="a.csv"),
        "a.csv": "text,label\n" + rows,
    }
    command = code(
        "import unicodedata\n"
        "def key(text):\n"
        "    text = unicodedata.normalize('NFC', text.lower().replace('&amp;', '&'))\n"
        "    return ''.join(text.replace(chr(0x200b), '').split())\n"
        "train, dev = ({key(t) for t in load(split=split)['text']} for split in ('train', 'dev'))\n"
        "print('on both sides:', len(train & dev), 'of', len(train | dev))"
    )
    test = DATA + "test_no_text_is_on_both_sides_whatever_its_blanks_and_repeats"
    return case(
        "splits", f"twins that differ in {name}", files, command, says("on both sides: 0 of 40"), test
    )


def _slices(name: str, files: dict[str, str | bytes], statements: str, right: str, test: str) -> Case:
    return case("splits", name, files, code(statements), says(right), DATA + test)


REPEATS = "text,label\n" + "".join(f"{text(n // 3)},{'ab'[n // 3 % 2]}\n" for n in range(120))
RARE = "text,label\n" + "".join(f"{text(n)},{'pos' if n in (3, 40) else 'neg'}\n" for n in range(60))
ZEROS = "text,label\n" + "".join(f"{text(n)},{n // 10 if n % 20 == 3 else 0}\n" for n in range(60))
DEV = "text,label\n" + "".join(f"{text(1000 + n)},%s\n" for n in range(12))


def _both(train: str, given: Sequence[object], **keys: Any) -> dict[str, str | bytes]:
    dev = DEV % tuple(given[n % len(given)] for n in range(12))
    files = {"train": "train.csv", "dev": "dev.csv"}
    return {"own.yaml": own(files=files, **keys), "train.csv": train, "dev.csv": dev}


SPLITS = [
    *(_split(name, twin) for name, twin in TWINS.items()),
    case(
        "splits",
        "pairs in the other order",
        {
            "own.yaml": json.dumps(
                {"name": "own", "columns": ["one", "two"], "labels": ["a", "b"], "files": "a.csv"}
            ),
            "a.csv": "one,two,label\n"
            + "".join(
                f"is it {n},was it {n},{'ab'[n % 2]}\nwas it {n},is it {n},{'ab'[n % 2]}\n" for n in range(40)
            ),
        },
        code(
            "train, dev = ({frozenset(p) for p in zip(d['one'], d['two'])} for d in "
            "(load(split=s) for s in ('train', 'dev')))\n"
            "print('on both sides:', len(train & dev), 'of', len(train | dev))"
        ),
        says("on both sides: 0 of 40"),
        DATA + "test_examples_that_only_capitals_entities_or_order_tell_apart_stay_on_one_side",
    ),
    _slices(
        "texts that repeat, in the slice that selects",
        _both(REPEATS, "ab", labels=["a", "b"]),
        "def texts(part): return {str(tokens['input_ids']) for tokens in part.tokens}\n"
        "print('leaking:', sum(bool(texts(kept) & texts(held)) for kept, held in slices()), 'of 20')",
        "leaking: 0 of 20",
        "test_no_text_is_on_both_sides_whatever_its_blanks_and_repeats",
    ),
    _slices(
        "a rare class, in the slice that selects",
        _both(RARE, ["neg", "pos"], labels=["neg", "pos"]),
        "print('lacking:', sum(len(set(held.labels.tolist())) < 2 for kept, held in slices()), 'of 20')",
        "lacking: 0 of 20",
        "test_a_rare_class_is_on_both_sides",
    ),
    _slices(
        "a regression of zeros, in the slice that selects",
        _both(ZEROS, [0, 1], kind="regression"),
        "print('zeros alone:', sum(not held.labels.any() for kept, held in slices()), 'of 20')",
        "zeros alone: 0 of 20",
        "test_frequent_numbers_are_strata_of_their_own",
    ),
    case(
        "splits",
        "f1 of a class that the slice cannot have",
        _both(
            RARE.replace(",pos", ",neg", 1), ["neg", "pos"], labels=["neg", "pos"], metric=["f1", "macro_f1"]
        ),
        PLAN,
        refused("metric: f1"),
        "tests/unit/dps/training/test_preview.py::"
        "test_a_slice_on_which_every_model_scores_the_same_is_refused",
    ),
    case(
        "splits",
        "texts of dev that are in train",
        _both(REPEATS + "".join(f"{text(1000 + n)},a\n" for n in range(12)), "ab", labels=["a", "b"]),
        PLAN,
        says("12 texts of dev are in train too"),
        "tests/unit/dps/training/test_preview.py::"
        "test_a_preview_says_how_labels_were_read_and_what_dev_shares",
    ),
]

FLIP = """
cache = TokenCache(Path("cache"))
before = encode("own.yaml", "x", cache)("train").labels.tolist()
from safetensors import safe_open
from safetensors.numpy import save_file
(file,) = [file for file in Path("cache").rglob("*.safetensors")]
with safe_open(file, framework="numpy") as held:
    arrays, metadata = {name: held.get_tensor(name) for name in held.keys()}, held.metadata()
%s
save_file(arrays, file, metadata)
after = encode("own.yaml", "x", cache)("train")
largest = max(max(tokens["input_ids"]) for tokens in after.tokens)
print("as before" if after.labels.tolist() == before and largest < 99999 else "wrong")
"""
CHANGE = """
planned, cache = plan(), TokenCache(Path("cache"))
before = Path("x/train.csv").read_text()
Path("x/train.csv").write_text(before.replace(",a", ",c").replace(",b", ",a").replace(",c", ",b"))
try: encode("own.yaml", "x", cache, planned)("train")
except Exception as error: print("refused:", error)
Path("x/train.csv").write_text(before)
print("labels", encode("own.yaml", "x", cache, planned)("train").labels.tolist()[:4])
"""
OWN_FOLDER = {
    "own.yaml": own(labels=["a", "b"]),
    "x/train.csv": table("text,label", AB),
    "x/dev.csv": table("text,label", AB),
}  # fmt: skip
CACHE = [
    case(
        "token cache",
        "tasks that differ in their label column",
        {**DEFINITIONS, "x/train.csv": ESSAYS, "x/dev.csv": ESSAYS},
        code(
            "cache = TokenCache(Path('cache'))\n"
            "for name in ('grammar', 'style'):\n"
            "    print(name, encode(f'{name}.yaml', 'x', cache)('dev').labels[:5].tolist())"
        ),
        says("grammar [0.0, 1.0, 2.0, 3.0, 4.0]", "style [4.0, 3.0, 2.0, 1.0, 0.0]"),
        TOKENS + "test_tasks_that_differ_in_their_label_column_share_no_tokens",
    ),
    case(
        "token cache",
        "labels flipped",
        OWN_FOLDER,
        code(FLIP % "arrays['labels'] = 1 - arrays['labels']"),
        says("as before"),
        TOKENS + "test_a_file_that_is_not_what_was_written_is_made_anew",
    ),
    case(
        "token cache",
        "an id out of range",
        OWN_FOLDER,
        code(FLIP % "arrays['input_ids'][3] = 99999"),
        says("as before"),
        TOKENS + "test_a_file_that_is_not_what_was_written_is_made_anew",
    ),
    case(
        "token cache",
        "the data change after the plan",
        OWN_FOLDER,
        code(CHANGE),
        says("refused: data: train of x is not what the plan was made from", "labels [0, 1, 0, 1]"),
        TOKENS + "test_data_that_changed_after_the_plan_are_refused_and_never_kept",
    ),
]

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{key}: &{key} [*{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}]\n"
    for last, key in zip("abcdefgh", "bcdefghi", strict=True)
)
LIMITS = [
    _columns(
        "a column of dates", [date(2026, 1, 1 + n % 2) for n in range(40)], refused("holds date"), False
    ),
    _columns(
        "a column of decimals", [Decimal(n) / 4 for n in range(40)], says("(regression)", "data  "), True
    ),
    _columns(
        "a column of floats with a NaN",
        [float(n % 2) for n in range(39)] + [float("nan")],
        says("label is missing"),
        False,
    ),
    Case(
        "limits",
        "a parquet file that unfolds to 9 GB",
        _unfolding,
        refused("unfolds to more than"),
        "tests/unit/dps/sources/test_readers.py::test_a_parquet_file_that_unfolds_beyond_its_size_is_refused",
    ),
    case("limits", "a task file of aliases", {"own.yaml": BOMB + "name: *i\n"}, PLAN, refused("alias")),
]

CASES = [*READINGS, *PROPOSALS, *SPLITS, *CACHE, *LIMITS]
