"""Which tasks test which, and how classes map: every pair against tables made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dps.errors import InputError
from dps.sources.base import Source
from dps.sources.builtin import BuiltinSource
from dps.sources.hub import HubSource
from dps.tasks import metrics, transfer
from dps.tasks.examples import ExampleTable
from dps.tasks.registry import GLUE_TASKS, TASKS, get_task
from dps.tasks.transfer import EVALUATION_SETS, TRANSFER_TARGETS, get_transfer_target
from dps.training.tokens import encode_dataset
from tests.tiny import tokenizer

ENTAILMENT = ("entailment", "not_entailment")
DUPLICATE = ("not_duplicate", "duplicate")
THREE = ("entailment", "neutral", "contradiction")

# By (trained, target): the classes compared in, then the class of each class of the target and of
# each of the model, both in the order of their own ids.
SAME_THREE = (THREE, [0, 1, 2], [0, 1, 2])
SAME_TWO = (ENTAILMENT, [0, 1], [0, 1])
THREE_TO_TWO = (ENTAILMENT, [0, 1], [0, 1, 1])
TWO_TO_THREE = (ENTAILMENT, [0, 1, 1], [0, 1])

THREE_CLASS = ("mnli", "snli", "sick")
TWO_CLASS = ("rte", "scitail", "qnli")
PAIRS = {
    **dict.fromkeys(product(THREE_CLASS, ("mnli", "mnli-mm", "snli", "sick")), SAME_THREE),
    **dict.fromkeys(product(THREE_CLASS, TWO_CLASS), THREE_TO_TWO),
    **dict.fromkeys(product(TWO_CLASS, ("mnli", "mnli-mm", "snli", "sick")), TWO_TO_THREE),
    **dict.fromkeys(product(TWO_CLASS, TWO_CLASS), SAME_TWO),
    ("scitail", "scitail"): (("entailment", "neutral"), [0, 1], [0, 1]),
    ("mrpc", "qqp"): (DUPLICATE, [0, 1], [0, 1]),
    ("qqp", "mrpc"): (DUPLICATE, [0, 1], [0, 1]),
    ("mrpc", "mrpc"): (("not_equivalent", "equivalent"), [0, 1], [0, 1]),
    ("qqp", "qqp"): (DUPLICATE, [0, 1], [0, 1]),
    ("cola", "cola"): (("unacceptable", "acceptable"), [0, 1], [0, 1]),
    ("sst2", "sst2"): (("negative", "positive"), [0, 1], [0, 1]),
}
OTHER_PAIRS = sorted(set(product(TASKS, EVALUATION_SETS)) - PAIRS.keys() - {("stsb", "stsb")})
SPLITS = {
    **dict.fromkeys(("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"), "dev"),
    **dict.fromkeys(("snli", "sick", "scitail"), "test"),
    "mnli-mm": "dev_mismatched",
}


def one_hot(predictions: np.ndarray | list[int], classes: int) -> np.ndarray:
    return np.eye(classes)[predictions] * 3 - 1


def labelled(name: str, *classes: str) -> np.ndarray:
    return np.array([get_task(name).labels.index(each) for each in classes])


@pytest.mark.parametrize(("trained", "name"), PAIRS)
def test_every_class_of_every_pair(trained: str, name: str) -> None:
    classes, gold_of, predicted_of = PAIRS[trained, name]
    task, target = get_task(trained), get_transfer_target(name)
    transfer.check_transfer(task, target)
    assert transfer.match_classes(task, target)[0] == classes
    pairs = np.array([*product(range(len(gold_of)), range(len(predicted_of)))])
    logits = one_hot(pairs[:, 1], len(predicted_of))
    gold, predicted = transfer.map_to_transfer_classes(task, target, pairs[:, 0], logits)
    assert gold.tolist() == [gold_of[label] for label, _ in pairs]
    assert predicted.tolist() == [predicted_of[label] for _, label in pairs]
    agreed = np.mean([gold_of[label] == predicted_of[guess] for label, guess in pairs])
    assert list(transfer.compute_transfer_scores(task, target, pairs[:, 0], logits)) == list(
        target.task.metrics
    )
    if "accuracy" in target.task.metrics:
        assert transfer.compute_transfer_scores(task, target, pairs[:, 0], logits)[
            "accuracy"
        ] == pytest.approx(agreed)


@pytest.mark.parametrize(("trained", "name"), OTHER_PAIRS)
def test_every_other_pair_is_refused_in_one_line(trained: str, name: str) -> None:
    task, target = get_task(trained), get_transfer_target(name)
    empty = np.zeros(0, dtype=np.int64), np.zeros((0, max(1, len(task.labels))))
    uses: list[Callable[[], object]] = [
        lambda: transfer.check_transfer(task, target),
        lambda: transfer.match_classes(task, target),
        lambda: transfer.map_to_transfer_classes(task, target, *empty),
        lambda: transfer.compute_transfer_scores(task, target, *empty),
    ]
    for use in uses:
        with pytest.raises(
            InputError, match=f"^transfer: {trained} cannot be tested on {name}: .*"
        ) as caught:
            use()
        assert "\n" not in str(caught.value)


def test_refusals_say_why_and_what_to_do() -> None:
    classes = "classes unacceptable, acceptable do not map to entailment, neutral, contradiction"
    with pytest.raises(InputError, match=f"{classes}; leave it out$"):
        transfer.check_transfer(get_task("cola"), get_transfer_target("snli"))
    with pytest.raises(
        InputError, match=r"do not map to not_equivalent, equivalent; choose among mnli-mm, snli"
    ):
        transfer.check_transfer(get_task("mnli"), get_transfer_target("mrpc"))
    for trained, name in (("stsb", "mrpc"), ("mrpc", "stsb")):
        with pytest.raises(InputError, match="task stsb predicts numbers, and only classes transfer"):
            transfer.check_transfer(get_task(trained), get_transfer_target(name))


def test_a_task_that_predicts_a_number_is_tested_on_its_own_sets_alone() -> None:
    stsb, target = get_task("stsb"), get_transfer_target("stsb")
    transfer.check_transfer(stsb, target)
    labels, predicted = np.array([0.0, 2.0, 5.0]), np.array([[1.0], [0.0], [4.0]])
    assert transfer.compute_transfer_scores(stsb, target, labels, predicted) == metrics.compute_scores(
        stsb, labels, predicted
    )
    with pytest.raises(InputError, match="only classes transfer"):
        transfer.match_classes(stsb, target)


def test_the_evaluation_sets_of_the_paper() -> None:
    assert TRANSFER_TARGETS == {
        "mnli": ("mnli-mm", "snli", "sick", "scitail", "rte"),
        "snli": ("mnli", "mnli-mm", "snli", "sick", "scitail", "rte"),
        "mrpc": ("qqp",),
        "qqp": ("mrpc",),
        "rte": ("snli", "sick", "scitail"),
    }
    for trained, names in TRANSFER_TARGETS.items():
        for target in map(get_transfer_target, names):
            transfer.check_transfer(get_task(trained), target)
            assert (target.task.name, target.split) != (trained, "dev")


@pytest.mark.parametrize("name", SPLITS)
def test_names_of_evaluation_sets(name: str) -> None:
    target = get_transfer_target(name)
    assert target.name == name
    assert target.task == get_task("mnli" if name == "mnli-mm" else name)
    assert target.split == SPLITS[name]
    assert target.split in target.task.all_splits


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(InputError, match="no evaluation set 'x'; choose one of cola, ") as caught:
        get_transfer_target("x")
    assert str(caught.value).split("choose one of ")[1].split(", ") == list(SPLITS)


def test_texts_go_in_the_order_of_the_target() -> None:
    first = {
        name: get_transfer_target(name).task.columns[0] for name in {*sum(TRANSFER_TARGETS.values(), ())}
    }
    assert first == {
        **dict.fromkeys(("mnli", "mnli-mm", "snli", "sick", "scitail"), "premise"),
        **dict.fromkeys(("rte", "mrpc"), "sentence1"),
        "qqp": "question1",
    }
    tokens = tokenizer()
    target = get_transfer_target("rte")
    rows = ExampleTable({"label": [0], "sentence2": ["the cat"], "sentence1": ["a dog sleeps"]})
    ids = encode_dataset(rows, target.task, tokens, 32).tokens[0]["input_ids"]
    assert ids == tokens("a dog sleeps", "the cat")["input_ids"]


def test_a_predicted_contradiction_is_not_entailment_on_two_classes() -> None:
    guesses = labelled("mnli", "contradiction", "neutral", "contradiction", "entailment")
    logits = one_hot(guesses, 3)
    rte = labelled("rte", "not_entailment", "not_entailment", "entailment", "entailment")
    assert transfer.compute_transfer_scores(get_task("mnli"), get_transfer_target("rte"), rte, logits) == {
        "accuracy": 0.75
    }
    scitail = labelled("scitail", "neutral", "neutral", "entailment", "neutral")
    assert transfer.compute_transfer_scores(
        get_task("mnli"), get_transfer_target("scitail"), scitail, logits
    ) == {"accuracy": 0.5}


def test_a_two_class_model_is_scored_on_two_classes() -> None:
    logits = one_hot(labelled("rte", "not_entailment", "not_entailment", "entailment", "entailment"), 2)
    snli = labelled("snli", "contradiction", "neutral", "entailment", "neutral")
    assert transfer.compute_transfer_scores(get_task("rte"), get_transfer_target("snli"), snli, logits) == {
        "accuracy": 0.75
    }


def test_the_likeliest_class_is_mapped_and_no_mass_summed() -> None:
    logits = np.log([[0.4, 0.3, 0.3], [0.2, 0.5, 0.3]])
    gold, predicted = transfer.map_to_transfer_classes(
        get_task("snli"), get_transfer_target("rte"), np.array([0, 1]), logits
    )
    assert gold.tolist() == predicted.tolist() == [0, 1]


@pytest.mark.parametrize(("trained", "name"), [("mrpc", "qqp"), ("qqp", "mrpc")])
def test_paraphrases_and_duplicates_are_scored_by_f1_and_accuracy(trained: str, name: str) -> None:
    labels, guesses = np.array([1, 1, 1, 0, 0, 1]), np.array([1, 1, 0, 0, 1, 0])
    scores = transfer.compute_transfer_scores(
        get_task(trained), get_transfer_target(name), labels, one_hot(guesses, 2)
    )
    assert scores == {"f1": pytest.approx(2 * 2 / (2 * 2 + 1 + 2)), "accuracy": pytest.approx(3 / 6)}
    assert list(scores) == ["f1", "accuracy"]


def test_labels_and_logits_must_fit_the_tasks() -> None:
    labels = np.array([0, 1])
    with pytest.raises(ValueError, match=r"shape \(2, 3\) for task mnli, but got \(2, 2\)"):
        transfer.compute_transfer_scores(
            get_task("mnli"), get_transfer_target("rte"), labels, np.zeros((2, 2))
        )
    with pytest.raises(ValueError, match=r"shape \(2, 3\) for task mnli, but got \(3, 3\)"):
        transfer.compute_transfer_scores(
            get_task("mnli"), get_transfer_target("rte"), labels, np.zeros((3, 3))
        )
    for wrong in (-1, 2):
        with pytest.raises(ValueError, match="labels must be ids of the 2 classes of rte"):
            transfer.compute_transfer_scores(
                get_task("mnli"), get_transfer_target("rte"), np.array([0, wrong]), np.zeros((2, 3))
            )


GUESSES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30).map(np.array)


@given(GUESSES)
def test_on_equal_classes_it_is_the_ordinary_score(pairs: np.ndarray) -> None:
    logits = one_hot(pairs[:, 1], 3)
    for name in ("mnli-mm", "snli", "sick"):
        ordinary = metrics.compute_scores(get_transfer_target(name).task, pairs[:, 0], logits)
        assert (
            transfer.compute_transfer_scores(get_task("mnli"), get_transfer_target(name), pairs[:, 0], logits)
            == ordinary
        )


@given(GUESSES, st.permutations(THREE))
def test_classes_are_matched_by_name_not_by_id(pairs: np.ndarray, order: list[str]) -> None:
    trained = get_task("snli")
    shuffled = replace(trained, labels=tuple(order))
    moved = [trained.labels.index(name) for name in order]
    logits = one_hot(pairs[:, 1], 3)
    for name, classes in (("mnli", 3), ("scitail", 2)):
        labels = pairs[:, 0] % classes
        scores = transfer.compute_transfer_scores(trained, get_transfer_target(name), labels, logits)
        assert (
            transfer.compute_transfer_scores(shuffled, get_transfer_target(name), labels, logits[:, moved])
            == scores
        )


def test_the_eight_tasks_of_glue_are_what_they_were() -> None:
    assert list(GLUE_TASKS) == ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"]
    for name, task in GLUE_TASKS.items():
        assert task.splits == (("train", "dev", "dev_mismatched") if name == "mnli" else ("train", "dev"))
        assert task.all_splits == task.splits


@pytest.mark.parametrize("name", ["snli", "sick", "scitail"])
def test_a_public_test_set_is_no_split_that_data_must_have(name: str) -> None:
    task = get_task(name)
    assert task.splits == ("train", "dev")
    assert task.dev_splits == ("dev",)
    assert task.all_splits == ("train", "dev", "test")
    assert task.columns == ("premise", "hypothesis")
    assert task.metrics == ("accuracy",)


@pytest.mark.parametrize("name", ["snli", "sick", "scitail"])
@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            HubSource(),
            f"^data: hub has {', '.join(GLUE_TASKS)}, not TASK; give a folder that holds TASK$",
        ),
        (BuiltinSource(), "^data: builtin has no examples for task 'TASK', only for cola, "),
    ],
    ids=["hub", "builtin"],
)
def test_sources_without_the_three_refuse_them_in_one_line(source: Source, message: str, name: str) -> None:
    uses: list[Callable[[], object]] = [
        lambda: source.load(get_task(name), "test"),
        lambda: source.fingerprint(get_task(name)),
    ]
    for use in uses:
        with pytest.raises(InputError, match=message.replace("TASK", name)) as caught:
            use()
        assert "\n" not in str(caught.value)
