"""MNLI: does the hypothesis follow, contradict, or neither? Ten constructions.

Every construction is a function `(rng, words, relation)` that returns a premise and a
hypothesis; its docstring names what decides. The mismatched set has the words of
another domain (`lexicon.OFFICE`).

Sources: Williams et al., "A Broad-Coverage Challenge Corpus for Sentence Understanding
through Inference", NAACL 2018; monotonicity as in MacCartney and Manning, "Modeling
Semantic Containment and Exclusion in Natural Language Inference", COLING 2008.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from dps.sources.builtin.grammar import Example, a, coin, humans, sentence, three, two
from dps.sources.builtin.lexicon import Words, listed

Pair = tuple[str, str]
Construction = Callable[[random.Random, Words, int], Pair]

ENTAILMENT, NEUTRAL, CONTRADICTION = 0, 1, 2
NUMBERS = listed("two three four five six seven eight nine")
COMPARATIVES = (("older", "younger"), ("taller", "shorter"), ("richer", "poorer"), ("stronger", "weaker"))


def voice(rng: random.Random, words: Words, relation: int) -> Pair:
    """The passive keeps the roles, a swap leaves it open, a negation denies it."""
    one, other = two(rng, humans(words))
    act, denied = rng.choice(words.acts), coin(rng)
    doer, done = (other, one) if relation == NEUTRAL else (one, other)
    denial = denied != (relation == CONTRADICTION)
    did = f"did not {act.base}" if denied else act.past
    was = "was not" if denial else "was"
    premise = sentence("the", one.one, did, "the", other.one, rng.choice(words.times))
    return premise, sentence("the", done.one, was, act.participle, "by the", doer.one)


def kinds(rng: random.Random, words: Words, relation: int) -> Pair:
    """A noun gives way to its hypernym; under a negation, to its hyponym."""
    thing, person = rng.choice(words.things), rng.choice(humans(words)).one
    verb, place = rng.choice(words.handlings), f"in the {rng.choice(words.places).one}"
    denied = coin(rng)
    narrow_first = denied == (relation == NEUTRAL)
    before, after = (thing.one, thing.kind) if narrow_first else (thing.kind, thing.one)

    def claim(what: str, denial: bool) -> str:
        act = f"did not {verb.base} any {what}" if denial else f"{verb.past} {a(what)}"
        return sentence("the", person, act, place)

    return claim(before, denied), claim(after, denied != (relation == CONTRADICTION))


def quantities(rng: random.Random, words: Words, relation: int) -> Pair:
    """Stronger quantifiers entail weaker ones and exclude those of the other scale."""
    group = rng.choice(humans(words) + words.animals).many
    up, down = ("all", "most", "some"), ("none of the", "few", "not all")
    if coin(rng):
        up, down = down, up
    strong, weak = sorted(rng.sample(range(3), 2))
    if relation == CONTRADICTION:
        before, after = rng.choice(((up[0], down[0]), (up[0], down[2]), (up[2], down[0]), (up[1], down[1])))
    else:
        before, after = (up[strong], up[weak]) if relation == ENTAILMENT else (up[weak], up[strong])
    end = f"{rng.choice(words.moves).past} in the {rng.choice(words.places).one}"
    return sentence(before, group, end), sentence(after, group, end)


def attitudes(rng: random.Random, words: Words, relation: int) -> Pair:
    """What is known holds, what is thought may, what is pretended does not."""
    one, other = two(rng, humans(words))
    openers = (
        ("knew that", "forgot that", "did not know that", "was glad that"),
        ("thought that", "claimed that", "did not think that", "was afraid that"),
        ("pretended that", "wrongly thought that", "wished that", "was wrong to think that"),
    )
    fact = f"the {other.one} {rng.choice(words.moves).past} in the {rng.choice(words.places).one}"
    return sentence("the", one.one, rng.choice(openers[relation]), fact), sentence(fact)


def implicatives(rng: random.Random, words: Words, relation: int) -> Pair:
    """What was "wanted" is open; "managed to" entails and "failed to" denies, and "not" swaps these."""
    person, thing = rng.choice(humans(words)), rng.choice(words.things)
    verb = rng.choice(words.handlings)
    holds = ("managed to", "remembered to", "did not fail to", "did not forget to")
    open_ = ("wanted to", "tried to", "did not want to", "did not plan to")
    fails = ("failed to", "forgot to", "did not manage to", "did not remember to")
    opener = rng.choice((holds, open_, fails)[relation])
    first = sentence("the", person.one, opener, verb.base, "the", rng.choice(words.looks), thing.one)
    return first, sentence("the", person.one, verb.past, "the", thing.one)


def modifiers(rng: random.Random, words: Words, relation: int) -> Pair:
    """A modifier may be dropped; one added is open; the opposite one contradicts."""
    one, other = two(rng, humans(words))
    quality, opposite = rng.choice(words.quality_opposites)
    if coin(rng):
        quality, opposite = opposite, quality
    end = f"{rng.choice(words.acts).past} the {other.one}"
    if relation == ENTAILMENT:
        return sentence("the", quality, one.one, end), sentence("the", one.one, end)
    if relation == NEUTRAL:
        return sentence("the", one.one, end), sentence("the", quality, one.one, end)
    return sentence("the", quality, one.one, end), sentence("the", one.one, "was", opposite)


def order_of_events(rng: random.Random, words: Words, relation: int) -> Pair:
    """The order "A before B" is "B after A", excludes "B before A", says more than "A and B"."""
    one, other = two(rng, humans(words))
    early, late = (f"the {person.one} {rng.choice(words.moves).past}" for person in (one, other))
    link = rng.choice(("before", "after"))
    turned = "after" if link == "before" else "before"
    first = sentence(early, "and" if relation == NEUTRAL else link, late)
    if coin(rng) and relation != NEUTRAL:
        return first, sentence(early, turned, late) if relation == CONTRADICTION else sentence(
            late, turned, early
        )
    return first, sentence(late, link if relation == CONTRADICTION else turned, early)


def comparison(rng: random.Random, words: Words, relation: int) -> Pair:
    """A comparison turned round needs the opposite adjective; one with a third person is open."""
    one, other, third = three(rng, humans(words))
    more, less = rng.choice(COMPARATIVES)
    first = sentence("the", one.one, "was", more, "than the", other.one)
    if relation == NEUTRAL:
        return first, sentence("the", one.one, "was", rng.choice((more, less)), "than the", third.one)
    if coin(rng):
        change = less if relation == ENTAILMENT else more
        return first, sentence("the", other.one, "was", change, "than the", one.one)
    change = less if relation == ENTAILMENT else more
    return first, sentence("the", one.one, "was not", change, "than the", other.one)


def numbers(rng: random.Random, words: Words, relation: int) -> Pair:
    """Having "at least" a number allows lower ones and leaves higher ones open; "at most" excludes these."""
    low, high = (NUMBERS[index] for index in sorted(rng.sample(range(len(NUMBERS)), 2)))
    group = rng.choice(humans(words) + words.animals).many
    end = f"{rng.choice(words.moves).past} in the {rng.choice(words.places).one}"
    given, asked = (high, low) if relation == ENTAILMENT else (low, high)
    bound = rng.choice((("at least", "exactly"), ("at least",), ("at most", "exactly"))[relation])
    return sentence(bound, given, group, end), sentence("at least", asked, group, end)


def conjunction(rng: random.Random, words: Words, relation: int) -> Pair:
    """Each half of an "and" holds, of an "or" may, of a "neither" does not."""
    one, other = two(rng, humans(words))
    tail = f"{rng.choice(words.handlings).past} the {rng.choice(words.things).one}"
    opener, link = (("both", "and"), ("either", "or"), ("neither", "nor"))[relation]
    who = rng.choice((one, other)).one
    return sentence(opener, "the", one.one, link, "the", other.one, tail), sentence("the", who, tail)


CONSTRUCTIONS: tuple[Construction, ...] = (
    voice,
    kinds,
    quantities,
    attitudes,
    implicatives,
    modifiers,
    order_of_events,
    comparison,
    numbers,
    conjunction,
)


def generate(rng: random.Random, words: Words) -> Example:
    """A premise and a hypothesis; label 0 entailment, 1 neutral, 2 contradiction."""
    relation = rng.randrange(3)
    return Example(rng.choice(CONSTRUCTIONS)(rng, words, relation), relation)
