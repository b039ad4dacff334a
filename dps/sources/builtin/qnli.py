"""QNLI: does the sentence hold the answer to the question? Ten constructions.

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

COMPARATIVES = listed("older taller richer younger stronger")
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


def place_or_time(rng: random.Random, words: Words, answered: bool) -> Pair:
    """The word "where" wants a place and "when" a time."""
    person, thing = rng.choice(humans(words)), rng.choice(words.things)
    verb = rng.choice(words.handlings)
    has_place = coin(rng)
    detail = f"in the {rng.choice(words.places).one}" if has_place else rng.choice(words.times)
    word = "where" if has_place == answered else "when"
    look = rng.choice(words.looks)
    question = ask(word, "did the", person.one, verb.base, "the", thing.one)
    return question, sentence("the", person.one, verb.past, "the", look, thing.one, detail)


def split_details(rng: random.Random, words: Words, answered: bool) -> Pair:
    """Of two events one has a place and the other a time."""
    one, other = two(rng, humans(words))
    first, second = two(rng, words.moves)
    place, time = f"in the {rng.choice(words.places).one}", rng.choice(words.times)
    text = sentence("the", one.one, first.past, place, "and the", other.one, second.past, time)
    about_first = coin(rng)
    who, move = (one, first) if about_first else (other, second)
    return ask("where" if about_first == answered else "when", "did the", who.one, move.base), text


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


def amounts(rng: random.Random, words: Words, answered: bool) -> Pair:
    """Of two groups one is counted."""
    one, other = two(rng, words.animals + words.people)
    counted, vague = (
        f"{rng.choice(NUMBERS)} {one.many}",
        f"{rng.choice(('some', 'many', 'a few'))} {other.many}",
    )
    first, second = (counted, vague) if coin(rng) else (vague, counted)
    move, place = rng.choice(words.moves), f"in the {rng.choice(words.places).one}"
    question = ask("how many", (one if answered else other).many, move.past, place)
    return question, sentence(first, "and", second, move.past, place)


def comparison(rng: random.Random, words: Words, answered: bool) -> Pair:
    """Who is older than B is told by "A is older than B", not by "B is older than A"."""
    one, other = two(rng, humans(words))
    more = rng.choice(COMPARATIVES)
    place = f"in the {rng.choice(words.places).one}"
    about = other if answered else one
    return ask("who is", more, "than the", about.one), sentence(
        "the", one.one, place, "is", more, "than the", other.one
    )


def trade(rng: random.Random, words: Words, answered: bool) -> Pair:
    """A sale names the buyer and the seller, but the buyer has not sold anything."""
    one, other = two(rng, humans(words))
    thing, time = f"the {rng.choice(words.things).one}", rng.choice(words.times)
    if coin(rng):
        text = sentence("the", one.one, "sold", thing, "to the", other.one, time)
    else:
        text = sentence("the", other.one, "bought", thing, "from the", one.one, time)
    if coin(rng):
        return ask("who sold something to the", (other if answered else one).one), text
    return ask("who bought something from the", (one if answered else other).one), text


def which_event(rng: random.Random, words: Words, answered: bool) -> Pair:
    """Two people did different things; the question is about one of these, or mixes them."""
    one, other = two(rng, humans(words))
    first, second = two(rng, words.handlings)
    did = f"the {one.one} {first.past} the {rng.choice(words.things).one}"
    other_did = f"the {other.one} {second.past} the {rng.choice(words.things).one}"
    text = sentence(did, "and", other_did)
    verb = first if answered else second
    return ask("what did the", one.one, verb.base), text


CONSTRUCTIONS: tuple[Construction, ...] = (
    roles,
    targets,
    place_or_time,
    split_details,
    whose_thing,
    reasons,
    amounts,
    comparison,
    trade,
    which_event,
)


def generate(rng: random.Random, words: Words) -> Example:
    """A question and a sentence; label 0 where it holds the answer ("entailment"), else 1."""
    answered = coin(rng)
    return Example(rng.choice(CONSTRUCTIONS)(rng, words, answered), int(not answered))
