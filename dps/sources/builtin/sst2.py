"""SST-2: is the review positive? Eleven constructions, most of which turn a word round.

Every construction is a function `(rng, words, positive)` that returns a sentence;
its docstring names what decides. Words of praise and of criticism stand in both classes.

Source: the phenomena are those of Socher et al., "Recursive Deep Models for Semantic
Compositionality Over a Sentiment Treebank", EMNLP 2013: negation, contrast, irony.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from dps.sources.builtin.grammar import Example, a, coin, sentence, two
from dps.sources.builtin.lexicon import Words, listed, plural

Construction = Callable[[random.Random, Words, bool], str]

WORKS = listed("film movie novel show comedy drama book thriller")
PARTS = listed("plot acting script music ending dialogue camera direction cast humor")
NEGATORS = ("never", "not", "hardly", "far from", "anything but", "by no means")
TURNERS = ("fails to be", "never manages to be", "refuses to be", "forgets to be")
KEEPERS = ("never fails to be", "manages to be", "does not forget to be", "cannot help being")
ADMIT = ("nobody doubts", "i have to admit", "it is true", "i do not deny")
DENY = ("nobody believes", "i doubt", "it is not true", "i deny")


def mood(rng: random.Random, words: Words, positive: bool) -> str:
    """An adjective of praise, or of criticism."""
    return rng.choice(words.praise if positive else words.criticism)


def verdict(rng: random.Random, words: Words, positive: bool) -> str:
    """A predicate: an adjective by itself, or one turned round once or twice."""
    way = rng.randrange(4)
    if way == 0:
        return f"is {mood(rng, words, positive)}"
    if way == 1:
        return f"is {rng.choice(NEGATORS)} {mood(rng, words, not positive)}"
    if way == 2:
        return f"{rng.choice(TURNERS)} {mood(rng, words, not positive)}"
    return f"{rng.choice(KEEPERS)} {mood(rng, words, positive)}"


def plain(rng: random.Random, words: Words, positive: bool) -> str:
    """The predicate says it."""
    return sentence("the", rng.choice(PARTS), "of this", rng.choice(WORKS), verdict(rng, words, positive))


def contrast(rng: random.Random, words: Words, positive: bool) -> str:
    """The clause after "but", and the main clause beside "although", decide."""
    part, work = f"the {rng.choice(PARTS)}", f"the {rng.choice(WORKS)}"
    decides, conceded = verdict(rng, words, positive), verdict(rng, words, not positive)
    if coin(rng):
        return sentence(part, conceded + ",", "but", work, decides)
    return sentence(work, decides + ",", "although", part, conceded)


def excess(rng: random.Random, words: Words, positive: bool) -> str:
    """The frame "too A to be B" says A and denies B."""
    first, second = mood(rng, words, positive), mood(rng, words, not positive)
    return sentence(
        "the", rng.choice(PARTS), "is", rng.choice(("too", "much too")), first, "to ever be", second
    )


def expectation(rng: random.Random, words: Words, positive: bool) -> str:
    """What was expected is not what was found."""
    work = rng.choice(WORKS)
    hoped, found = a(mood(rng, words, not positive)), a(mood(rng, words, positive))
    hope = rng.choice(("expected", "feared" if positive else "hoped for", "was promised"))
    if coin(rng):
        return sentence("i", hope, hoped, work, "and got", found, "one")
    return sentence("i got", found, work, "where i", hope, hoped, "one")


def counterfactual(rng: random.Random, words: Words, positive: bool) -> str:
    """What would have been is not."""
    part, work = rng.choice(PARTS), rng.choice(WORKS)
    degree = rng.choice(("had not been so", "had been less"))
    reason = f"if the {part} {degree} {mood(rng, words, positive)}"
    return sentence("the", work, "would have been", mood(rng, words, not positive), reason)


def lack(rng: random.Random, words: Words, positive: bool) -> str:
    """What is missing is not there; "no lack" is plenty."""
    absent = ("lacks", "does not have", "is without", "could use")
    present = ("does not lack", "is full of", "has plenty of", "has no shortage of")
    turning = coin(rng)
    link = rng.choice(absent if turning else present)
    return sentence("the", rng.choice(WORKS), link, mood(rng, words, positive != turning), "scenes")


def comparison(rng: random.Random, words: Words, positive: bool) -> str:
    """The work of which it is said decides, not the one it is compared with."""
    this, that = two(rng, WORKS)
    if coin(rng):
        other, seems = mood(rng, words, positive), mood(rng, words, not positive)
        return sentence("next to this", this + ",", "even the most", other, that, "looks", seems)
    better = "better" if positive else "worse"
    return sentence("the", this, "is", better, "than the", mood(rng, words, coin(rng)), that)


def course(rng: random.Random, words: Words, positive: bool) -> str:
    """What it comes to in the end decides, whatever is told first."""
    begun, ended = mood(rng, words, not positive), verdict(rng, words, positive)
    if coin(rng):
        return sentence("the", rng.choice(WORKS), "that starts out", begun, ended, "in the end")
    return sentence("in the end the", rng.choice(WORKS), ended + ",", "even if it starts out", begun)


def opinion(rng: random.Random, words: Words, positive: bool) -> str:
    """An opinion that is said to be wrong counts against itself."""
    believed = coin(rng)
    said = verdict(rng, words, positive == believed)
    judged = rng.choice(("right", "not wrong", "correct") if believed else ("wrong", "not right", "mistaken"))
    return sentence("those who say the", rng.choice(WORKS), said, "are", judged)


def doubt(rng: random.Random, words: Words, positive: bool) -> str:
    """What one doubts or denies is not so; what one admits or does not doubt is."""
    believed = coin(rng)
    said = verdict(rng, words, positive == believed)
    opener = rng.choice(ADMIT if believed else DENY)
    return sentence(opener, "that the", rng.choice(WORKS), said)


def recommendation(rng: random.Random, words: Words, positive: bool) -> str:
    """The advice decides; the adjective tells only whom it is for."""
    taste, work = mood(rng, words, coin(rng)), rng.choice(WORKS)
    advice = ("do not miss it", "go and see it") if positive else ("stay away", "do not waste your time")
    return sentence("if you are tired of", taste, plural(work) + ",", rng.choice(advice))


CONSTRUCTIONS: tuple[Construction, ...] = (
    plain,
    contrast,
    excess,
    expectation,
    counterfactual,
    lack,
    comparison,
    course,
    opinion,
    doubt,
    recommendation,
)


def generate(rng: random.Random, words: Words) -> Example:
    """A review of one sentence; label 1 where it is positive."""
    positive = coin(rng)
    return Example((rng.choice(CONSTRUCTIONS)(rng, words, positive),), int(positive))
