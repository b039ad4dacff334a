"""Parts that the generators share: the type of an example, and small pieces of English grammar."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from dps.sources.builtin.lexicon import VOWELS, Noun, Vocabulary

T = TypeVar("T")


class Example(NamedTuple):
    """Labelled example. texts: in the order of the task's columns."""

    texts: tuple[str, ...]
    label: int | float


ExampleGenerator = Callable[[random.Random, Vocabulary], Example]


def make_sentence(*parts: str | Noun, end: str = ".") -> str:
    """Join the non-empty parts by blanks, with a capital and a full stop."""
    text = " ".join(str(part) for part in parts if part).replace(" ,", ",")
    return text[0].upper() + text[1:] + end


def add_article(phrase: str) -> str:
    """Return the phrase with its indefinite article."""
    return f"{'an' if phrase[0] in VOWELS else 'a'} {phrase}"


def inflect_noun(noun: Noun, many: bool) -> str:
    """Return the plural (`many`) or the singular of a noun."""
    return noun.plural if many else noun.singular


def sample_two(rng: random.Random, items: Sequence[T]) -> tuple[T, T]:
    """Draw two different items."""
    first, second = rng.sample(items, 2)
    return first, second


def flip_coin(rng: random.Random, chance: float = 0.5) -> bool:
    """Return True with probability `chance`."""
    return rng.random() < chance
