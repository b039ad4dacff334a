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

from dps.sources.builtin.grammar import Example, flip_coin, list_human_nouns, make_sentence, sample_two
from dps.sources.builtin.lexicon import Vocabulary, split_words

Pair = tuple[str, str]
Construction = Callable[[random.Random, Vocabulary, bool], Pair]

NUMBERS = split_words("two three four five six seven eight nine ten twenty thirty forty")
TRENDS = (("rose", "increased", "fell"), ("grew", "went up", "dropped"), ("fell", "dropped", "grew"))
MARKETS = split_words("prices profits sales shares taxes")


def shuffle_pair(rng: random.Random, one: str, other: str) -> Pair:
    """The two sentences in either order."""
    return (one, other) if flip_coin(rng) else (other, one)


def make_voice_paraphrase(rng: random.Random, words: Vocabulary, same: bool) -> Pair:
    """The passive keeps who did what to whom, or swaps it."""
    one, other = sample_two(rng, list_human_nouns(words))
    act, time = rng.choice(words.acts), rng.choice(words.times)
    doer, done = (one, other) if same else (other, one)
    active = make_sentence("the", one, act.past, "the", other, time)
    return shuffle_pair(rng, active, make_sentence("the", done, "was", act.participle, "by the", doer, time))


def make_synonym_paraphrase(rng: random.Random, words: Vocabulary, same: bool) -> Pair:
    """A verb gives way to a synonym or to its opposite."""
    one, other = sample_two(rng, list_human_nouns(words))
    act, changed = rng.choice(words.act_synonyms if same else words.act_opposites)
    time = rng.choice(words.times)
    first = make_sentence(time + ",", "the", one, act.past, "the", other)
    return shuffle_pair(rng, first, make_sentence("the", one, changed.past, "the", other, time))


def make_quality_paraphrase(rng: random.Random, words: Vocabulary, same: bool) -> Pair:
    """A description gives way to a synonym or to its opposite, negated or not."""
    person, place = rng.choice(list_human_nouns(words)), rng.choice(words.places)
    quality, changed = rng.choice(words.quality_synonyms if same else words.quality_opposites)
    be = "was not" if flip_coin(rng) else "was"
    first = make_sentence("the", person, "in the", place, be, quality)
    return shuffle_pair(rng, first, make_sentence("in the", place, "the", person, be, changed))


def make_dative_paraphrase(rng: random.Random, words: Vocabulary, same: bool) -> Pair:
    """The receiver stands before or after the gift; giver and receiver are swapped or not."""
    one, other = sample_two(rng, list_human_nouns(words))
    gift, act = rng.choice(words.things), rng.choice(("gave", "sent", "showed", "offered", "handed"))
    time = rng.choice(words.times)
    giver, taker = (one, other) if same else (other, one)
    first = make_sentence("the", one, act, "the", other, f"the {gift}", time)
    return shuffle_pair(rng, first, make_sentence("the", giver, act, f"the {gift}", "to the", taker, time))


def make_converse_paraphrase(rng: random.Random, words: Vocabulary, same: bool) -> Pair:
    """What one sells, the other buys."""
    one, other = sample_two(rng, list_human_nouns(words))
    gift, time = rng.choice(words.things), rng.choice(words.times)
    doer, done = (other, one) if same else (one, other)
    first = make_sentence("the", one, "sold the", gift, "to the", other, time)
    return shuffle_pair(rng, first, make_sentence("the", doer, "bought the", gift, "from the", done, time))


def make_event_order_paraphrase(rng: random.Random, words: Vocabulary, same: bool) -> Pair:
    """The order "A before B" is "B after A"."""
    one, other = sample_two(rng, list_human_nouns(words))
    early = f"the {one} {rng.choice(words.moves).past}"
    late = f"the {other} {rng.choice(words.moves).past}"
    link = rng.choice(("before", "after"))
    turned = "after" if link == "before" else "before"
    first = make_sentence(early, link, late)
    if flip_coin(rng):
        return shuffle_pair(rng, first, make_sentence(link if same else turned, late + ",", early))
    return shuffle_pair(rng, first, make_sentence(late, turned if same else link, early))


def make_cause_paraphrase(rng: random.Random, words: Vocabulary, same: bool) -> Pair:
    """The claim "A because B" is "B, so A"."""
    one, other = sample_two(rng, list_human_nouns(words))
    effect = f"the {one} {rng.choice(words.moves).past}"
    cause = f"the {other} was {rng.choice(words.qualities)}"
    first = make_sentence(effect, "because", cause)
    parts = (cause, effect) if same else (effect, cause)
    return shuffle_pair(rng, first, make_sentence(parts[0] + ",", "so", parts[1]))


def make_attribute_paraphrase(rng: random.Random, words: Vocabulary, same: bool) -> Pair:
    """Two adjectives keep their nouns or are exchanged."""
    one, other = sample_two(rng, list_human_nouns(words))
    (quality, second), act = sample_two(rng, words.qualities), rng.choice(words.acts)
    place = f"in the {rng.choice(words.places)}"
    first = make_sentence("the", quality, one, act.past, "the", second, other, place)
    if not same:
        quality, second = second, quality
    return shuffle_pair(
        rng, first, make_sentence(place + ",", "the", quality, one, act.past, "the", second, other)
    )


def make_figure_paraphrase(rng: random.Random, words: Vocabulary, same: bool) -> Pair:
    """A trend keeps its direction and its figure, or changes one of them."""
    number, wrong = sample_two(rng, NUMBERS)
    trend, alike, opposite = rng.choice(TRENDS)
    market, time = rng.choice(MARKETS), rng.choice(words.times)
    first = make_sentence(market, trend, "by", number, "percent", time)
    change = (alike, number)
    if not same:
        change = rng.choice(((opposite, number), (alike, wrong)))
    return shuffle_pair(rng, first, make_sentence(time + ",", market, change[0], "by", change[1], "percent"))


def make_reported_speech_paraphrase(rng: random.Random, words: Vocabulary, same: bool) -> Pair:
    """A quotation turned into a clause is about its speaker, not about the hearer."""
    male, female = rng.choice(words.men), rng.choice(words.women)
    speaker, hearer = (male, female) if flip_coin(rng) else (female, male)
    quality = rng.choice(words.qualities)
    subject = "he" if (speaker is male) == same else "she"
    first = make_sentence(f'"i am {quality}," the', speaker, "told the", hearer)
    return shuffle_pair(
        rng, first, make_sentence("the", speaker, "told the", hearer, "that", subject, "was", quality)
    )


def make_outcome_paraphrase(rng: random.Random, words: Vocabulary, same: bool) -> Pair:
    """Having "failed to" is "did not", "managed to" is "did"."""
    person, thing = rng.choice(list_human_nouns(words)), rng.choice(words.things)
    verb, time = rng.choice(words.handlings), rng.choice(words.times)
    managed = flip_coin(rng)
    first = make_sentence(
        "the", person, "managed to" if managed else "failed to", verb.base, "the", thing, time
    )
    happened = f"{verb.past} the" if managed == same else f"did not {verb.base} the"
    return shuffle_pair(rng, first, make_sentence(time + ",", "the", person, happened, thing))


CONSTRUCTIONS: tuple[Construction, ...] = (
    make_voice_paraphrase,
    make_synonym_paraphrase,
    make_quality_paraphrase,
    make_dative_paraphrase,
    make_converse_paraphrase,
    make_event_order_paraphrase,
    make_cause_paraphrase,
    make_attribute_paraphrase,
    make_figure_paraphrase,
    make_reported_speech_paraphrase,
    make_outcome_paraphrase,
)


def generate_mrpc(rng: random.Random, words: Vocabulary) -> Example:
    """Two sentences; label 1 where they are equivalent."""
    same = flip_coin(rng)
    return Example(rng.choice(CONSTRUCTIONS)(rng, words, same), int(same))
