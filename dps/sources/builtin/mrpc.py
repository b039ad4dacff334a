"""MRPC: do the two sentences say the same? Eleven constructions.

Every construction is a function `(rng, words, same)` that returns two sentences of
nearly the same words; its docstring names what keeps or changes the meaning.

Sources: Dolan and Brockett, "Automatically Constructing a Corpus of Sentential
Paraphrases", IWP 2005; the word swaps are those of Zhang et al., "PAWS: Paraphrase
Adversaries from Word Scrambling", NAACL 2019.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from dps.sources.builtin.grammar import Example, coin, humans, sentence, two
from dps.sources.builtin.lexicon import Words, listed

Pair = tuple[str, str]
Construction = Callable[[random.Random, Words, bool], Pair]

NUMBERS = listed("two three four five six seven eight nine ten twenty thirty forty")
TRENDS = (("rose", "increased", "fell"), ("grew", "went up", "dropped"), ("fell", "dropped", "grew"))
MARKETS = listed("prices profits sales shares taxes")


def shuffled(rng: random.Random, one: str, other: str) -> Pair:
    """The two sentences in either order."""
    return (one, other) if coin(rng) else (other, one)


def voice(rng: random.Random, words: Words, same: bool) -> Pair:
    """The passive keeps who did what to whom, or swaps it."""
    one, other = two(rng, humans(words))
    act, time = rng.choice(words.acts), rng.choice(words.times)
    doer, done = (one, other) if same else (other, one)
    active = sentence("the", one.one, act.past, "the", other.one, time)
    return shuffled(rng, active, sentence("the", done.one, "was", act.participle, "by the", doer.one, time))


def synonyms(rng: random.Random, words: Words, same: bool) -> Pair:
    """A verb gives way to a synonym or to its opposite."""
    one, other = two(rng, humans(words))
    act, changed = rng.choice(words.act_synonyms if same else words.act_opposites)
    time = rng.choice(words.times)
    first = sentence(time + ",", "the", one.one, act.past, "the", other.one)
    return shuffled(rng, first, sentence("the", one.one, changed.past, "the", other.one, time))


def qualities(rng: random.Random, words: Words, same: bool) -> Pair:
    """A description gives way to a synonym or to its opposite, negated or not."""
    person, place = rng.choice(humans(words)), rng.choice(words.places)
    quality, changed = rng.choice(words.quality_synonyms if same else words.quality_opposites)
    be = "was not" if coin(rng) else "was"
    first = sentence("the", person.one, "in the", place.one, be, quality)
    return shuffled(rng, first, sentence("in the", place.one, "the", person.one, be, changed))


def datives(rng: random.Random, words: Words, same: bool) -> Pair:
    """The receiver stands before or after the gift; giver and receiver are swapped or not."""
    one, other = two(rng, humans(words))
    gift, act = rng.choice(words.things).one, rng.choice(("gave", "sent", "showed", "offered", "handed"))
    time = rng.choice(words.times)
    giver, taker = (one, other) if same else (other, one)
    first = sentence("the", one.one, act, "the", other.one, f"the {gift}", time)
    return shuffled(rng, first, sentence("the", giver.one, act, f"the {gift}", "to the", taker.one, time))


def converses(rng: random.Random, words: Words, same: bool) -> Pair:
    """What one sells, the other buys."""
    one, other = two(rng, humans(words))
    gift, time = rng.choice(words.things).one, rng.choice(words.times)
    doer, done = (other, one) if same else (one, other)
    first = sentence("the", one.one, "sold the", gift, "to the", other.one, time)
    return shuffled(rng, first, sentence("the", doer.one, "bought the", gift, "from the", done.one, time))


def order_of_events(rng: random.Random, words: Words, same: bool) -> Pair:
    """The order "A before B" is "B after A"."""
    one, other = two(rng, humans(words))
    early = f"the {one.one} {rng.choice(words.moves).past}"
    late = f"the {other.one} {rng.choice(words.moves).past}"
    link = rng.choice(("before", "after"))
    turned = "after" if link == "before" else "before"
    first = sentence(early, link, late)
    if coin(rng):
        return shuffled(rng, first, sentence(link if same else turned, late + ",", early))
    return shuffled(rng, first, sentence(late, turned if same else link, early))


def causes(rng: random.Random, words: Words, same: bool) -> Pair:
    """The claim "A because B" is "B, so A"."""
    one, other = two(rng, humans(words))
    effect = f"the {one.one} {rng.choice(words.moves).past}"
    cause = f"the {other.one} was {rng.choice(words.qualities)}"
    first = sentence(effect, "because", cause)
    parts = (cause, effect) if same else (effect, cause)
    return shuffled(rng, first, sentence(parts[0] + ",", "so", parts[1]))


def attributes(rng: random.Random, words: Words, same: bool) -> Pair:
    """Two adjectives keep their nouns or are exchanged."""
    one, other = two(rng, humans(words))
    (quality, second), act = two(rng, words.qualities), rng.choice(words.acts)
    place = f"in the {rng.choice(words.places).one}"
    first = sentence("the", quality, one.one, act.past, "the", second, other.one, place)
    if not same:
        quality, second = second, quality
    return shuffled(
        rng, first, sentence(place + ",", "the", quality, one.one, act.past, "the", second, other.one)
    )


def figures(rng: random.Random, words: Words, same: bool) -> Pair:
    """A trend keeps its direction and its figure, or changes one of them."""
    number, wrong = two(rng, NUMBERS)
    trend, alike, opposite = rng.choice(TRENDS)
    market, time = rng.choice(MARKETS), rng.choice(words.times)
    first = sentence(market, trend, "by", number, "percent", time)
    change = (alike, number)
    if not same:
        change = rng.choice(((opposite, number), (alike, wrong)))
    return shuffled(rng, first, sentence(time + ",", market, change[0], "by", change[1], "percent"))


def reported_speech(rng: random.Random, words: Words, same: bool) -> Pair:
    """A quotation turned into a clause is about its speaker, not about the hearer."""
    male, female = rng.choice(words.men), rng.choice(words.women)
    speaker, hearer = (male, female) if coin(rng) else (female, male)
    quality = rng.choice(words.qualities)
    subject = "he" if (speaker is male) == same else "she"
    first = sentence(f'"i am {quality}," the', speaker.one, "told the", hearer.one)
    return shuffled(
        rng, first, sentence("the", speaker.one, "told the", hearer.one, "that", subject, "was", quality)
    )


def outcome(rng: random.Random, words: Words, same: bool) -> Pair:
    """Having "failed to" is "did not", "managed to" is "did"."""
    person, thing = rng.choice(humans(words)), rng.choice(words.things)
    verb, time = rng.choice(words.handlings), rng.choice(words.times)
    managed = coin(rng)
    first = sentence(
        "the", person.one, "managed to" if managed else "failed to", verb.base, "the", thing.one, time
    )
    happened = f"{verb.past} the" if managed == same else f"did not {verb.base} the"
    return shuffled(rng, first, sentence(time + ",", "the", person.one, happened, thing.one))


CONSTRUCTIONS: tuple[Construction, ...] = (
    voice,
    synonyms,
    qualities,
    datives,
    converses,
    order_of_events,
    causes,
    attributes,
    figures,
    reported_speech,
    outcome,
)


def generate(rng: random.Random, words: Words) -> Example:
    """Two sentences; label 1 where they are equivalent."""
    same = coin(rng)
    return Example(rng.choice(CONSTRUCTIONS)(rng, words, same), int(same))
