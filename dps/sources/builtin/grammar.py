"""What the generators share: the shape of an example, and small pieces of English."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from dps.sources.builtin.lexicon import VOWELS, Noun, Words

T = TypeVar("T")


SOUNDS = {"honest": "an", "useful": "a"}  # where the spelling misleads


class Example(NamedTuple):
    """One labelled example: its texts in the order of the task's columns, and its label."""

    texts: tuple[str, ...]
    label: int | float


Generate = Callable[[random.Random, Words], Example]


def sentence(*parts: str, end: str = ".") -> str:
    """The non-empty parts joined by blanks, with a capital and a full stop."""
    text = " ".join(part for part in parts if part).replace(" ,", ",")
    return text[0].upper() + text[1:] + end


def a(phrase: str) -> str:
    """The phrase with its indefinite article."""
    by_letter = "an" if phrase[0] in VOWELS else "a"
    return f"{SOUNDS.get(phrase.split()[0], by_letter)} {phrase}"


def form(noun: Noun, many: bool) -> str:
    """The plural or the singular of a noun."""
    return noun.many if many else noun.one


def two(rng: random.Random, items: Sequence[T]) -> tuple[T, T]:
    """Two different items."""
    first, second = rng.sample(items, 2)
    return first, second


def three(rng: random.Random, items: Sequence[T]) -> tuple[T, T, T]:
    """Three different items."""
    first, second, third = rng.sample(items, 3)
    return first, second, third


def coin(rng: random.Random, chance: float = 0.5) -> bool:
    """True with this chance."""
    return rng.random() < chance


def humans(words: Words) -> tuple[Noun, ...]:
    """All nouns for people."""
    return words.men + words.women + words.people
