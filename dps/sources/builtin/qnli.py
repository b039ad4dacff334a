"""QNLI: does the sentence hold the answer to the question? Nine constructions.

Every construction is a function `(rng, words, answered)` that returns a question and a
sentence of shared words; its docstring names what decides.

Source: Wang et al., "GLUE", ICLR 2019, after Rajpurkar et al., "SQuAD", EMNLP 2016:
the unanswerable questions here are of the kinds of "SQuAD 2.0", ACL 2018.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from dps.sources.builtin.grammar import Example, coin, humans, sentence, two
from dps.sources.builtin.lexicon import Words, listed

Pair = tuple[str, str]
Construction = Callable[[random.Random, Words, bool], Pair]

NUMBERS = listed("two three four five six seven eight nine")


def ask(*parts: str) -> str:
    """The parts as a question."""
    return sentence(*parts, end="?")


def roles(rng: random.Random, words: Words, answered: bool) -> Pair:
    """The sentence tells who did it to the target, or only what the target did."""
    one, other = two(rng, humans(words))
    act, quality = rng.choice(words.acts), rng.choice(words.qualities)
    about = other if answered else one
    question = ask("who", act.past, "the", about.one)
    if coin(rng):
        return question, sentence("the", quality, one.one, act.past, "the", other.one)
    return question, sentence("the", other.one, "was", act.participle, "by the", quality, one.one)


def targets(rng: random.Random, words: Words, answered: bool) -> Pair:
    """The sentence tells to whom the person did it, or only who did it to the person."""
    one, other = two(rng, humans(words))
    act, where = rng.choice(words.acts), f"in the {rng.choice(words.places).one}"
    about = one if answered else other
    question = ask("who did the", about.one, act.base)
    if coin(rng):
        return question, sentence("the", one.one, act.past, "the", other.one, where)
    return question, sentence("the", other.one, "was", act.participle, "by the", one.one, where)


def other_person(rng: random.Random, words: Words, answered: bool) -> Pair:
    """The sentence is about the person asked about, or about somebody else."""
    one, other = two(rng, humans(words))
    verb, thing = rng.choice(words.handlings), f"the {rng.choice(words.looks)} {rng.choice(words.things).one}"
    question = ask("what did the", one.one, verb.base, "in the", rng.choice(words.places).one)
    return question, sentence("the", (one if answered else other).one, verb.past, thing, "there")


def synonyms(rng: random.Random, words: Words, answered: bool) -> Pair:
    """The sentence names the act asked about in other words, or names its opposite."""
    one, other = two(rng, humans(words))
    asked, told = rng.choice(words.act_synonyms if answered else words.act_opposites)
    text = sentence("the", rng.choice(words.qualities), one.one, told.past, "the", other.one)
    return ask("who did the", one.one, asked.base), text


def kinds(rng: random.Random, words: Words, answered: bool) -> Pair:
    """A question for a kind of thing wants a thing of that kind."""
    thing = rng.choice(words.things + words.animals)
    kind = thing.kind
    if not answered:
        kind = rng.choice([each.kind for each in words.things + words.animals if each.kind != thing.kind])
    person, verb = rng.choice(humans(words)).one, rng.choice(words.handlings)
    text = sentence(
        "the", person, verb.past, "the", rng.choice(words.looks), thing.one, rng.choice(words.times)
    )
    return ask("which", kind, "did the", person, verb.base), text


def slots(rng: random.Random, words: Words, answered: bool) -> Pair:
    """A place answers "where", a time "when", a number "how many"; the sentence has two of the three."""
    asked, *others = rng.sample(("where", "when", "how many"), 3)
    told = {asked, others[0]} if answered else set(others)
    group, move = rng.choice(words.people + words.animals).many, rng.choice(words.moves)
    count = rng.choice(NUMBERS if "how many" in told else ("some", "the", "many"))
    place = f"in the {rng.choice(words.places).one}" if "where" in told else ""
    text = sentence(count, group, move.past, place, rng.choice(words.times) if "when" in told else "")
    return ask(asked, group, move.past) if asked == "how many" else ask(asked, "did", group, move.base), text


def why_or_when(rng: random.Random, words: Words, answered: bool) -> Pair:
    """A clause with "because" answers "why", one with "after" answers "when"."""
    one, other = two(rng, humans(words))
    first, second = two(rng, words.moves)
    is_reason = coin(rng)
    link = rng.choice(("because", "as") if is_reason else ("after", "before"))
    question = ask("why" if is_reason == answered else "when", "did the", one.one, first.base)
    return question, sentence("the", one.one, first.past, link, "the", other.one, second.past)


def whose_thing(rng: random.Random, words: Words, answered: bool) -> Pair:
    """The main verb belongs to the head noun, not to the noun in its relative clause."""
    one, other = two(rng, humans(words))
    verb, thing = rng.choice(words.handlings), rng.choice(words.things)
    act = rng.choice(words.acts).past
    inner = f"that {act} the {other.one}" if coin(rng) else f"that the {other.one} {act}"
    about = one if answered else other
    return (
        ask("what did the", about.one, verb.base),
        sentence("the", one.one, inner, verb.past, "the", thing.one),
    )


def reasons(rng: random.Random, words: Words, answered: bool) -> Pair:
    """The word "because" gives the reason of one event, not of the other."""
    one, other = two(rng, humans(words))
    first, second = two(rng, words.moves)
    who, move = (one, first) if answered else (other, second)
    question = ask("why did the", who.one, move.base)
    if coin(rng):
        return question, sentence("the", one.one, first.past, "because the", other.one, second.past)
    return question, sentence("because the", other.one, second.past + ",", "the", one.one, first.past)


CONSTRUCTIONS: tuple[Construction, ...] = (
    roles,
    targets,
    other_person,
    synonyms,
    kinds,
    slots,
    why_or_when,
    whose_thing,
    reasons,
)


def generate(rng: random.Random, words: Words) -> Example:
    """A question and a sentence; label 0 where it holds the answer ("entailment"), else 1."""
    answered = coin(rng)
    return Example(rng.choice(CONSTRUCTIONS)(rng, words, answered), int(not answered))
