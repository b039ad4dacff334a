"""RTE: does the second text follow from the first? Two classes, twelve constructions.

Every construction is a function `(rng, words, follows)` that returns a text and a
hypothesis; its docstring names what decides. Words are shared between both classes.

Sources: the constructions are among those of the FraCaS suite (Cooper et al., 1996)
and of the diagnostic set of Wang et al., "GLUE", ICLR 2019.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from dps.sources.builtin.grammar import Example, a, coin, humans, sentence, three, two
from dps.sources.builtin.lexicon import Noun, Words

Pair = tuple[str, str]
Construction = Callable[[random.Random, Words, bool], Pair]

COMPARATIVES = (("older", "younger"), ("taller", "shorter"), ("richer", "poorer"), ("stronger", "weaker"))
NUMBERS = "two three four five six seven eight nine".split()


def voice(rng: random.Random, words: Words, follows: bool) -> Pair:
    """The passive keeps who did what to whom, or swaps it."""
    one, other = two(rng, humans(words))
    act = rng.choice(words.acts)
    text = sentence("the", rng.choice(words.qualities), one.one, act.past, "the", other.one, rng.choice(words.times))
    passive = coin(rng)
    doer, done = (one, other) if follows else (other, one)
    if passive:
        return text, sentence("the", done.one, "was", act.participle, "by the", doer.one)
    return text, sentence("the", doer.one, act.past, "the", done.one)


def kinds(rng: random.Random, words: Words, follows: bool) -> Pair:
    """A noun gives way to its hypernym; under "no", to its hyponym."""
    animal = rng.choice(words.animals + words.things)
    denied = coin(rng)
    narrow, wide = (animal.one, animal.kind) if not denied else (animal.kind, animal.one)
    before, after = (narrow, wide) if follows else (wide, narrow)
    person, verb = rng.choice(humans(words)), rng.choice(words.handlings)
    where = f"in the {rng.choice(words.places).one}"
    if denied:
        return (
            sentence("the", person.one, "did not", verb.base, "any", before, where),
            sentence("the", person.one, "did not", verb.base, "any", after, where),
        )
    return (
        sentence("the", person.one, verb.past, a(before), where),
        sentence("the", person.one, verb.past, a(after), where),
    )


def quantities(rng: random.Random, words: Words, follows: bool) -> Pair:
    """A stronger quantifier gives way to a weaker one, not the other way round."""
    group = rng.choice(humans(words) + words.animals).many
    scale = ("all", "most", "some") if coin(rng) else ("none of the", "few", "not all")
    strong, weak = sorted(rng.sample(range(3), 2))
    before, after = (scale[strong], scale[weak]) if follows else (scale[weak], scale[strong])
    end = f"{rng.choice(words.moves).past} in the {rng.choice(words.places).one}"
    return sentence(before, group, end), sentence(after, group, end)


def attitudes(rng: random.Random, words: Words, follows: bool) -> Pair:
    """What is known or regretted holds, what is thought or claimed may not, negated or not."""
    one, other = two(rng, humans(words))
    holds = "knew forgot realized regretted discovered".split()
    open_ = "thought claimed hoped believed feared".split()
    base = {"knew": "know", "forgot": "forget", "thought": "think"}
    choice = rng.choice(holds if follows else open_)
    fact = f"the {other.one} {rng.choice(words.moves).past}"
    if coin(rng):
        plain = base.get(choice) or choice.removesuffix("ed").replace("realiz", "realize")
        choice = "did not " + {"hop": "hope", "regrett": "regret", "believ": "believe"}.get(plain, plain)
    return sentence("the", one.one, choice, "that", fact), sentence(fact)


def implicatives(rng: random.Random, words: Words, follows: bool) -> Pair:
    """"Managed to" entails the act and "failed to" denies it; a negation turns both round."""
    person, thing = rng.choice(humans(words)), rng.choice(words.things)
    verb = rng.choice(words.handlings)
    denied = coin(rng)
    positive = (("managed", "manage"), ("remembered", "remember"), ("bothered", "bother"))
    negative = (("failed", "fail"), ("forgot", "forget"), ("neglected", "neglect"))
    past, base = rng.choice(negative if denied == follows else positive)
    text = sentence("the", person.one, f"did not {base}" if denied else past, "to", verb.base, "the", thing.one)
    return text, sentence("the", person.one, verb.past, "the", thing.one)


def modifiers(rng: random.Random, words: Words, follows: bool) -> Pair:
    """A modifier may be dropped, but not added."""
    person, thing = rng.choice(humans(words)), rng.choice(words.things)
    look, other = two(rng, words.looks)
    verb = rng.choice(words.handlings).past
    place, time = f"in the {rng.choice(words.places).one}", rng.choice(words.times)
    long = (f"{look} {thing.one}", place if coin(rng) else time)
    short = (thing.one, long[1]) if coin(rng) else (long[0], "")
    before, after = (long, short) if follows else (short, long)
    subject = f"the {person.one} {verb} the {other}"
    return sentence(subject, *before), sentence(subject, *after)


def conjunction(rng: random.Random, words: Words, follows: bool) -> Pair:
    """Each half of an "and" follows, no half of an "or" does."""
    one, other = two(rng, humans(words))
    link = "and" if follows else "or"
    tail = f"{rng.choice(words.handlings).past} the {rng.choice(words.looks)} {rng.choice(words.things).one}"
    who = rng.choice((one, other)).one
    return sentence("the", one.one, link, "the", other.one, tail), sentence("the", who, tail)


def converses(rng: random.Random, words: Words, follows: bool) -> Pair:
    """What one sells, the other buys."""
    one, other = two(rng, humans(words))
    gift = f"the {rng.choice(words.things).one}"
    there, back = rng.choice((("sold {} to", "bought {} from"), ("gave {} to", "got {} from")))
    if coin(rng):
        there, back = back, there
    text = sentence("the", one.one, there.format(gift), "the", other.one, rng.choice(words.times))
    doer, done = (other, one) if follows else (one, other)
    return text, sentence("the", doer.one, back.format(gift), "the", done.one)


def comparison(rng: random.Random, words: Words, follows: bool) -> Pair:
    """A comparison turned round needs the opposite adjective."""
    one, other = two(rng, humans(words))
    more, less = rng.choice(COMPARATIVES)
    if coin(rng):
        more, less = less, more
    text = sentence("the", one.one, "was much", more, "than the", other.one)
    if coin(rng):
        return text, sentence("the", other.one, "was", less if follows else more, "than the", one.one)
    return text, sentence("the", one.one, "was", more if follows else less, "than the", other.one)


def clauses(rng: random.Random, words: Words, follows: bool) -> Pair:
    """"Because" and "although" assert both clauses, "if" and "unless" assert neither."""
    one, other = two(rng, humans(words))
    link = rng.choice(("because", "although", "after", "when") if follows else ("if", "unless", "in case"))
    parts = (f"the {one.one} {rng.choice(words.moves).past}", f"the {other.one} {rng.choice(words.moves).past}")
    return sentence(link, parts[0] + ",", parts[1]), sentence(rng.choice(parts))


def numbers(rng: random.Random, words: Words, follows: bool) -> Pair:
    """"At least" allows a smaller number and "at most" a greater one."""
    low, high = sorted(rng.sample(range(len(NUMBERS)), 2))
    group = rng.choice(humans(words) + words.animals).many
    end = rng.choice(words.moves).past
    at_least = coin(rng)
    given, asked = (high, low) if at_least == follows else (low, high)
    place = f"in the {rng.choice(words.places).one}"
    bound = "at least" if at_least else "at most"
    return (
        sentence("exactly", NUMBERS[given], group, end, place),
        sentence(bound, NUMBERS[asked], group, end),
    )


def relative_clause(rng: random.Random, words: Words, follows: bool) -> Pair:
    """The main verb belongs to the head noun, not to the noun next to it."""
    one, other, third = three(rng, humans(words))
    move = rng.choice(words.moves).past
    act = rng.choice(words.acts).past
    inner = f"that {act} the {other.one}" if coin(rng) else f"that the {other.one} {act}"
    head: Noun = one if follows else other
    return sentence("the", one.one, inner, move, "near the", third.one), sentence("the", head.one, move)


CONSTRUCTIONS: tuple[Construction, ...] = (
    voice,
    kinds,
    quantities,
    attitudes,
    implicatives,
    modifiers,
    conjunction,
    converses,
    comparison,
    clauses,
    numbers,
    relative_clause,
)


def generate(rng: random.Random, words: Words) -> Example:
    """A text and a hypothesis; label 0 where it follows ("entailment"), else 1."""
    follows = coin(rng)
    return Example(rng.choice(CONSTRUCTIONS)(rng, words, follows), int(not follows))
