"""From examples to batches: order, ranks, strata, padding."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dps.errors import InputError
from dps.tasks import registry, splits
from dps.tasks.examples import ExampleTable
from dps.tasks.task import Task
from dps.training import data
from dps.training import tokens as training_tokens
from dps.training.data import TaskData, TrainingBatches
from dps.training.tokens import EncodedExamples
from tests import tiny

TOKENIZER = tiny.tokenizer()
COLA, STSB = registry.get_task("cola"), registry.get_task("stsb")


def encoded(count: int) -> EncodedExamples:
    """Examples of different lengths, none like another."""
    tokens = [{"input_ids": [4 + i] * (1 + i % 5), "attention_mask": [1] * (1 + i % 5)} for i in range(count)]
    return EncodedExamples.from_tokens(tokens, np.arange(count) % 2)


@settings(max_examples=50)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 3))
def test_an_epoch_visits_every_example_once(count: int, batch_size: int, seed: int) -> None:
    batches = TrainingBatches(encoded(count), TOKENIZER, batch_size, seed)
    assert batches.steps_per_epoch == -(-count // batch_size)
    for epoch in range(2):
        first = epoch * batches.steps_per_epoch + 1
        steps = range(first, first + batches.steps_per_epoch)
        assert sorted(np.concatenate([batches.get_indices(step) for step in steps])) == list(range(count))


@settings(max_examples=50)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(2, 4))
def test_ranks_share_each_batch_in_equal_parts(count: int, batch_size: int, world: int) -> None:
    alone = TrainingBatches(encoded(count), TOKENIZER, batch_size, 0)
    ranks = [TrainingBatches(encoded(count), TOKENIZER, batch_size, 0, rank, world) for rank in range(world)]
    for step in range(1, alone.steps_per_epoch + 1):
        parts = [rank.get_indices(step) for rank in ranks]
        whole = alone.get_indices(step)
        assert {len(part) for part in parts} == {-(-len(whole) // world)}
        assert set(np.concatenate(parts)) == set(whole)
        if len(whole) % world == 0:
            assert sorted(np.concatenate(parts)) == sorted(whole)


def test_the_order_depends_on_the_seed_and_the_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batches = TrainingBatches(encoded(30), TOKENIZER, 10, seed)
        return [int(i) for step in range(3 * epoch + 1, 3 * epoch + 4) for i in batches.get_indices(step)]

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
    mixed = TrainingBatches(encoded(30), TOKENIZER, 10, 1)
    mixed.get_indices(1)
    assert mixed.get_indices(7).tolist() == order(1, 2)[:10]  # whatever was asked before


def skewed(count: int, middle: int = 16) -> EncodedExamples:
    """Examples of log-normal lengths around `middle`, cut at 128: 16 for sentences, 60 for paragraphs."""
    lengths = np.random.default_rng(0).lognormal(np.log(middle), 0.5, count).clip(4, 128).astype(int)
    tokens = [{"input_ids": [4] * n, "attention_mask": [1] * n} for n in lengths]
    return EncodedExamples.from_tokens(tokens, np.arange(count) % 2)


def test_an_epoch_of_several_pools_visits_every_example_once_and_no_other_is_like_it() -> None:
    examples = skewed(1000)
    batches = TrainingBatches(examples, TOKENIZER, 8, 0)
    assert len(examples) > 7 * data.BATCHES_PER_POOL * 8
    epochs = [[batches.get_indices(step) for step in range(first, first + 125)] for first in (1, 126)]
    for epoch in epochs:
        assert sorted(np.concatenate(epoch)) == list(range(1000))
        longest = [max(examples.lengths()[i] for i in batch) for batch in epoch]
        assert longest not in (sorted(longest), sorted(longest, reverse=True))
        assert abs(np.corrcoef(longest, range(125))[0, 1]) < 0.3  # long and short all over the epoch
    together = [{frozenset(batch.tolist()) for batch in epoch} for epoch in epochs]
    assert len(together[0] & together[1]) <= 2


def test_the_batch_of_a_step_follows_from_seed_and_step_whatever_was_asked_before() -> None:
    examples, steps = skewed(600), [80, 1, 39, 38, 200, 76]  # epochs of 38
    batches = TrainingBatches(examples, TOKENIZER, 16, 3)
    for step in steps:
        alone = TrainingBatches(examples, TOKENIZER, 16, 3).get_indices(step)
        assert batches.get_indices(step).tolist() == alone.tolist()
        assert TrainingBatches(examples, TOKENIZER, 16, 4).get_indices(step).tolist() != alone.tolist()


@pytest.mark.parametrize("count", [512, 2000])
@pytest.mark.parametrize("batch_size", [8, 16, 32])
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize(("middle", "most"), [(60, 1.10), (16, 1.20)])  # a long tail is padded for
def test_little_is_padded(count: int, batch_size: int, world: int, middle: int, most: float) -> None:
    examples = skewed(count, middle)
    lengths = np.asarray(examples.lengths())

    def padding(batches: list[np.ndarray]) -> float:
        """Tokens computed by tokens given."""
        computed = sum(len(batch) * lengths[batch].max() for batch in batches)
        return float(computed / sum(lengths[batch].sum() for batch in batches))

    ranks = [TrainingBatches(examples, TOKENIZER, batch_size, 0, rank, world) for rank in range(world)]
    steps = range(1, ranks[0].steps_per_epoch + 1)
    assert padding([rank.get_indices(step) for rank in ranks for step in steps]) <= most
    shuffled = np.array_split(np.random.default_rng(0).permutation(count), len(steps))
    assert padding(shuffled) > 1.5  # what it is without


@pytest.mark.parametrize("world", [2, 4])
def test_the_shares_of_ranks_are_disjoint_and_complete(world: int) -> None:
    examples = skewed(640)
    ranks = [TrainingBatches(examples, TOKENIZER, 16, 0, rank, world) for rank in range(world)]
    visited: list[int] = []
    for step in range(1, 41):
        parts = [rank.get_indices(step).tolist() for rank in ranks]
        assert [len(part) for part in parts] == [16 // world] * world
        visited += [index for part in parts for index in part]
    assert sorted(visited) == list(range(640))


def test_a_batch_is_padded_to_its_longest_and_says_so() -> None:
    batches = TrainingBatches(encoded(10), TOKENIZER, 4, 0)
    batch, indices = batches.get_batch(1), batches.get_indices(1)
    lengths = [1 + i % 5 for i in indices]
    assert batch["input_ids"].shape == (4, max(lengths))
    assert batch["attention_mask"].sum(dim=1).tolist() == lengths
    assert batch["labels"].tolist() == [i % 2 for i in indices]
    for row, (index, length) in enumerate(zip(indices, lengths, strict=True)):
        assert batch["input_ids"][row].tolist() == [4 + index] * length + [0] * (max(lengths) - length)


def test_evaluation_batches_visit_every_example_once_the_longest_first() -> None:
    examples = encoded(13)
    parts = list(data.batch_by_length(examples, 4))
    assert [len(part) for part in parts] == [4, 4, 4, 1]
    visited = np.concatenate(parts)
    assert sorted(visited) == list(range(13))
    lengths = [examples.lengths()[i] for i in visited]
    assert lengths == sorted(lengths, reverse=True)


@given(st.lists(st.integers(1, 30), min_size=2, max_size=4), st.floats(0.05, 0.95), st.integers(0, 5))
def test_a_stratified_choice_keeps_the_proportions(sizes: list[int], share: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    task = Task("own", ("text",), tuple("abcd"[: len(sizes)]), ("accuracy",))
    size = max(1, min(len(labels) - 1, round(share * len(labels))))
    chosen, rest = splits.split_stratified(task, labels, size, seed)
    assert len(chosen) == size
    assert sorted([*chosen, *rest]) == list(range(len(labels)))
    counts = Counter(labels[chosen].tolist())
    exact = [count * size / len(labels) for count in sizes]
    several = [label for label, count in enumerate(sizes) if count > 1]
    if all(1 <= exact[label] <= sizes[label] - 1 for label in several):
        assert all(abs(counts[label] - exact[label]) < 1 for label in range(len(sizes)))
    if len(sizes) <= size <= len(labels) - len(sizes):
        assert all(1 <= counts[label] < sizes[label] for label in several)


def test_a_number_as_label_is_stratified_by_its_quantiles() -> None:
    labels = np.random.default_rng(0).permutation(np.linspace(0, 5, 200)).astype(np.float32)
    chosen, _ = splits.split_stratified(STSB, labels, 40, seed=0)
    assert np.histogram(labels[chosen], bins=10, range=(0, 5))[0].tolist() == [4] * 10


def test_a_stratified_choice_depends_on_its_seed() -> None:
    labels = np.arange(50) % 2
    chosen = [splits.split_stratified(COLA, labels, 10, seed)[0].tolist() for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize("size", [0, -1, 50, 51])
def test_a_choice_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(InputError, match=f"cannot choose {size} of 50 examples"):
        splits.split_stratified(COLA, np.arange(50) % 2, size, 0)


def test_a_subset_is_stratified_and_always_the_same() -> None:
    labels = np.arange(40) % 2
    one, other = (splits.choose_examples(COLA, labels, 10, None, seed) for seed in (0, 1))
    assert one.tolist() == other.tolist()
    assert Counter(labels[one]) == {0: 5, 1: 5}
    assert splits.choose_examples(COLA, labels, None, None, 0).tolist() == list(range(40))
    with pytest.raises(InputError, match="--train-size: 41 examples were asked for, but there are 40"):
        splits.choose_examples(COLA, labels, 41, None, 0)


def test_shots_are_as_many_of_each_class_and_others_for_each_seed() -> None:
    labels = np.array([0] * 30 + [1] * 5)
    drawn = [splits.choose_examples(COLA, labels, None, 5, seed).tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(Counter(labels[each]) == {0: 5, 1: 5} and each == sorted(set(each)) for each in drawn)


@pytest.mark.parametrize(
    ("task", "labels", "words"),
    [
        (COLA, [0, 0, 1], "--shots: 2 of each class were asked for, but 'acceptable' has 1"),
        (STSB, [0.0, 1.0], "--shots: stsb has numbers, where classes are needed; use --train-size"),
    ],
)
def test_shots_that_cannot_be(task: Task, labels: list[float], words: str) -> None:
    with pytest.raises(InputError, match=f"^{words}$"):
        splits.choose_examples(task, np.array(labels), None, 2, 0)


GROUPED = replace(COLA, group="author")
PEOPLE = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["", *"123456"]), st.integers(0, 1)),
    min_size=2,
    max_size=60,
)


def number_rows(rows: list[tuple[str, str, int]]) -> splits.Indices:
    texts = splits.number_texts([[text for text, _, _ in rows]])
    return splits.join_groups(texts, [who for _, who, _ in rows])


@settings(deadline=None)  # the first call imports scipy
@given(PEOPLE, st.sampled_from([0.2, 0.5, 0.9]), st.integers(0, 3))
def test_no_text_and_no_group_is_on_both_sides(
    rows: list[tuple[str, str, int]], share: float, seed: int
) -> None:
    numbers, labels = number_rows(rows), np.array([label for _, _, label in rows])
    if len(set(numbers)) < 2:
        with pytest.raises(InputError, match="every example has the same group"):
            splits.hold_out_texts(GROUPED, labels, numbers, share, seed)
        return
    parts = splits.hold_out_texts(GROUPED, labels, numbers, share, seed)
    assert sorted([*parts[0], *parts[1]]) == list(range(len(rows)))
    assert all(len(part) for part in parts)
    for field in (0, 1):
        kept, held_out = ({rows[i][field] for i in part} - {""} for part in parts)
        assert kept.isdisjoint(held_out)


def test_rows_that_others_link_are_together_and_those_without_a_group_are_not() -> None:
    rows = [("a", "1", 0), ("b", "1", 0), ("b", "2", 0), ("c", "2", 0), ("d", "", 0), ("e", "", 0)]
    assert number_rows(rows).tolist() == [0, 0, 0, 0, 1, 2]
    assert number_rows([("a", "", 0), ("b", "", 0)]).tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_held_out_with_the_classes_in_proportion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, numbers = rng.integers(0, 2, 1000), np.unique(rng.integers(0, 100, 1000), return_inverse=True)[1]
    held_out = splits.hold_out_texts(GROUPED, labels, numbers, 0.2, seed)[1]
    assert len(held_out) == pytest.approx(200, abs=10)
    assert labels[held_out].sum() == pytest.approx(labels.sum() / 5, abs=10)
    assert held_out.tolist() != splits.hold_out_texts(GROUPED, labels, numbers, 0.2, seed + 1)[1].tolist()


TEXTS = st.text(st.sampled_from("ab\u00e9e\u0301\u00a0 \t\n\u200b\ufeff"), max_size=6).filter(
    lambda text: splits.normalise_text(text) != ""
)


@given(st.lists(st.tuples(TEXTS, st.integers(0, 1)), min_size=2, max_size=40), st.integers(0, 3))
def test_no_text_is_on_both_sides_whatever_its_blanks_and_repeats(
    rows: list[tuple[str, int]], seed: int
) -> None:
    texts, labels = [text for text, _ in rows], np.array([label for _, label in rows])
    numbers = splits.number_texts([texts])
    if len(set(numbers)) < 2:
        with pytest.raises(InputError, match="every example has the same text"):
            splits.hold_out_texts(COLA, labels, numbers, 0.2, seed)
        return
    kept, held_out = splits.hold_out_texts(COLA, labels, numbers, 0.2, seed)
    assert sorted([*kept, *held_out]) == list(range(len(rows)))
    sides = [{splits.normalise_text(texts[i]) for i in part} for part in (kept, held_out)]
    assert sides[0].isdisjoint(sides[1])


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("a b", " a\u00a0 b\n", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("a\u200bb", "ab", True),
        ("\ufeffa", "a", True),
        ("a \u200b b", "a b", True),
        ("a b", "ab", False),
        ("A", "a", False),
        ("x\u00b2", "x2", False),
    ],
)
def test_texts_that_a_reader_takes_for_one(one: str, other: str, alike: bool) -> None:
    assert (splits.normalise_text(one) == splits.normalise_text(other)) == alike
    same = alike or one.casefold() == other.casefold()
    assert len(set(splits.number_texts([[one, other], ["b", "b"]]))) == 2 - same


@pytest.mark.parametrize(
    ("columns", "numbers"),
    [
        ([["Good film", "GOOD  film", "a good film"]], [0, 0, 1]),
        ([["Tom &amp; Jerry", "Tom & Jerry", "Tom &#38; jerry"]], [0, 0, 0]),
        ([["one", "two", "one"], ["two", "one", "one"]], [0, 0, 1]),
    ],
)
def test_examples_that_only_capitals_entities_or_order_tell_apart_stay_on_one_side(
    columns: list[list[str]], numbers: list[int]
) -> None:
    assert splits.number_texts(columns).tolist() == numbers


@given(st.permutations(range(60)), st.integers(0, 30))
def test_the_same_seed_chooses_the_same_of_different_texts_as_of_rows(order: list[int], seed: int) -> None:
    labels = np.array(order) % 3
    task = Task("own", ("text",), ("a", "b", "c"), ("accuracy",))
    held_out = splits.hold_out_texts(task, labels, np.arange(60), 0.2, seed)[1]
    assert held_out.tolist() == splits.split_stratified(task, labels, 12, seed)[0].tolist()


@pytest.mark.parametrize(
    "labels",
    [
        [0] * 54 + [1, 2, 3, 4, 5, 3],
        [0] * 58 + [1, 2],
        [5.0] * 40 + [1, 2] * 10,
        [1] * 30 + [0] * 30,
        [-1.5] * 20 + [0] * 20 + [2.5] * 20,
    ],
    ids=str,
)
def test_frequent_numbers_are_strata_of_their_own(labels: list[float]) -> None:
    values = np.array(labels, dtype=np.float64)
    frequent = max(labels, key=labels.count)
    for seed in range(20):
        kept, held_out = splits.hold_out_texts(STSB, values, np.arange(60), 0.2, seed)
        for part in (kept, held_out):
            assert (values[part] == frequent).any()
            assert (values[part] != frequent).any()


@pytest.mark.parametrize("rare", [2, 3, 4])
def test_a_rare_class_is_on_both_sides(rare: int) -> None:
    labels = np.array([0] * (60 - rare) + [1] * rare)
    for seed in range(20):
        for part in splits.hold_out_texts(COLA, labels, np.arange(60), 0.2, seed):
            assert set(labels[part]) == {0, 1}


def test_holdout_slices_are_disjoint_stratified_and_depend_on_the_seed() -> None:
    examples = encoded(40)
    slices = []
    for seed in (0, 0, 1):
        kept, held = data.split_holdout(COLA, examples, 0.2, seed)
        assert (len(kept), len(held)) == (32, 8)
        assert Counter(held.labels.tolist()) == {0: 4, 1: 4}
        ids = [{example["input_ids"][0] for example in part.tokens} for part in (kept, held)]
        assert not ids[0] & ids[1]
        assert len(ids[0] | ids[1]) == 40
        slices.append(held.tokens)
    assert slices[0] == slices[1] != slices[2]


def test_texts_are_cut_at_the_longest_length_and_labels_have_their_type(tiny_data: TaskData) -> None:
    rows = ExampleTable({"sentence": ["w1 w2 w3 w4 w5 w6", "w1"], "label": [1, 0]})
    cut = training_tokens.encode_dataset(rows, COLA, TOKENIZER, 5)
    assert cut.lengths().tolist() == [5, 3]
    assert cut.labels.dtype == np.int64
    pairs = ExampleTable({"sentence1": ["w1 w2"], "sentence2": ["w3"], "label": [2.5]})
    pair = training_tokens.encode_dataset(pairs, STSB, TOKENIZER, 16)
    assert TOKENIZER.decode(pair.tokens[0]["input_ids"]) == "[CLS] w1 w2 [SEP] w3 [SEP]"
    assert pair.labels.dtype == np.float32
    assert tiny_data.get_split("dev") is tiny_data.get_split("dev")  # tokenised once
    assert len(tiny_data.get_train_examples(None)) == 60
    assert torch.from_numpy(tiny_data.get_train_examples(30).labels).float().mean() == 0.5
