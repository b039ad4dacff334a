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

from dps.sources.builtin.grammar import (
    Example,
    add_article,
    flip_coin,
    list_human_nouns,
    make_sentence,
    sample_three,
    sample_two,
)
from dps.sources.builtin.lexicon import Vocabulary, split_words

Pair = tuple[str, str]
Construction = Callable[[random.Random, Vocabulary, int], Pair]

ENTAILMENT, NEUTRAL, CONTRADICTION = 0, 1, 2
NUMBERS = split_words("two three four five six seven eight nine")
COMPARATIVES = (("older", "younger"), ("taller", "shorter"), ("richer", "poorer"), ("stronger", "weaker"))


def make_voice_inference(rng: random.Random, words: Vocabulary, relation: int) -> Pair:
    """The passive keeps the roles, a swap leaves it open, a negation denies it."""
    one, other = sample_two(rng, list_human_nouns(words))
    act, denied = rng.choice(words.acts), flip_coin(rng)
    doer, done = (other, one) if relation == NEUTRAL else (one, other)
    denial = denied != (relation == CONTRADICTION)
    did = f"did not {act.base}" if denied else act.past
    was = "was not" if denial else "was"
    premise = make_sentence("the", one, did, "the", other, rng.choice(words.times))
    return premise, make_sentence("the", done, was, act.participle, "by the", doer)


def make_hypernym_inference(rng: random.Random, words: Vocabulary, relation: int) -> Pair:
    """A noun gives way to its hypernym; under a negation, to its hyponym."""
    thing, person = rng.choice(words.things), rng.choice(list_human_nouns(words))
    verb, place = rng.choice(words.handlings), f"in the {rng.choice(words.places)}"
    denied = flip_coin(rng)
    narrow_first = denied == (relation == NEUTRAL)
    before, after = (thing.singular, thing.kind) if narrow_first else (thing.kind, thing.singular)

    def claim(what: str, denial: bool) -> str:
        act = f"did not {verb.base} any {what}" if denial else f"{verb.past} {add_article(what)}"
        return make_sentence("the", person, act, place)

    return claim(before, denied), claim(after, denied != (relation == CONTRADICTION))


def make_quantity_inference(rng: random.Random, words: Vocabulary, relation: int) -> Pair:
    """Stronger quantifiers entail weaker ones and exclude those of the other scale."""
    group = rng.choice(list_human_nouns(words) + words.animals).plural
    up, down = ("all", "most", "some"), ("none of the", "few", "not all")
    if flip_coin(rng):
        up, down = down, up
    strong, weak = sorted(rng.sample(range(3), 2))
    if relation == CONTRADICTION:
        before, after = rng.choice(((up[0], down[0]), (up[0], down[2]), (up[2], down[0]), (up[1], down[1])))
    else:
        before, after = (up[strong], up[weak]) if relation == ENTAILMENT else (up[weak], up[strong])
    end = f"{rng.choice(words.moves).past} in the {rng.choice(words.places)}"
    return make_sentence(before, group, end), make_sentence(after, group, end)


def make_attitude_inference(rng: random.Random, words: Vocabulary, relation: int) -> Pair:
    """What is known holds, what is thought may, what is pretended does not."""
    one, other = sample_two(rng, list_human_nouns(words))
    openers = (
        ("knew that", "forgot that", "did not know that", "was glad that"),
        ("thought that", "claimed that", "did not think that", "was afraid that"),
        ("pretended that", "wrongly thought that", "wished that", "was wrong to think that"),
    )
    fact = f"the {other} {rng.choice(words.moves).past} in the {rng.choice(words.places)}"
    return make_sentence("the", one, rng.choice(openers[relation]), fact), make_sentence(fact)


def make_implicative_inference(rng: random.Random, words: Vocabulary, relation: int) -> Pair:
    """What was "wanted" is open; "managed to" entails and "failed to" denies, and "not" swaps these."""
    person, thing = rng.choice(list_human_nouns(words)), rng.choice(words.things)
    verb = rng.choice(words.handlings)
    holds = ("managed to", "remembered to", "did not fail to", "did not forget to")
    open_ = ("wanted to", "tried to", "did not want to", "did not plan to")
    fails = ("failed to", "forgot to", "did not manage to", "did not remember to")
    opener = rng.choice((holds, open_, fails)[relation])
    first = make_sentence("the", person, opener, verb.base, "the", rng.choice(words.looks), thing)
    return first, make_sentence("the", person, verb.past, "the", thing)


def make_modifier_inference(rng: random.Random, words: Vocabulary, relation: int) -> Pair:
    """A modifier may be dropped; one added is open; the opposite one contradicts."""
    one, other = sample_two(rng, list_human_nouns(words))
    quality, opposite = rng.choice(words.quality_opposites)
    if flip_coin(rng):
        quality, opposite = opposite, quality
    end = f"{rng.choice(words.acts).past} the {other}"
    if relation == ENTAILMENT:
        return make_sentence("the", quality, one, end), make_sentence("the", one, end)
    if relation == NEUTRAL:
        return make_sentence("the", one, end), make_sentence("the", quality, one, end)
    return make_sentence("the", quality, one, end), make_sentence("the", one, "was", opposite)


def make_event_order_inference(rng: random.Random, words: Vocabulary, relation: int) -> Pair:
    """The order "A before B" is "B after A", excludes "B before A", says more than "A and B"."""
    one, other = sample_two(rng, list_human_nouns(words))
    early, late = (f"the {person} {rng.choice(words.moves).past}" for person in (one, other))
    link = rng.choice(("before", "after"))
    turned = "after" if link == "before" else "before"
    first = make_sentence(early, "and" if relation == NEUTRAL else link, late)
    if flip_coin(rng) and relation != NEUTRAL:
        return first, make_sentence(early, turned, late) if relation == CONTRADICTION else make_sentence(
            late, turned, early
        )
    return first, make_sentence(late, link if relation == CONTRADICTION else turned, early)


def make_comparison_inference(rng: random.Random, words: Vocabulary, relation: int) -> Pair:
    """A comparison turned round needs the opposite adjective; one with a third person is open."""
    one, other, third = sample_three(rng, list_human_nouns(words))
    more, less = rng.choice(COMPARATIVES)
    first = make_sentence("the", one, "was", more, "than the", other)
    if relation == NEUTRAL:
        return first, make_sentence("the", one, "was", rng.choice((more, less)), "than the", third)
    if flip_coin(rng):
        change = less if relation == ENTAILMENT else more
        return first, make_sentence("the", other, "was", change, "than the", one)
    change = less if relation == ENTAILMENT else more
    return first, make_sentence("the", one, "was not", change, "than the", other)


def make_number_inference(rng: random.Random, words: Vocabulary, relation: int) -> Pair:
    """Having "at least" a number allows lower ones and leaves higher ones open; "at most" excludes these."""
    low, high = (NUMBERS[index] for index in sorted(rng.sample(range(len(NUMBERS)), 2)))
    group = rng.choice(list_human_nouns(words) + words.animals).plural
    end = f"{rng.choice(words.moves).past} in the {rng.choice(words.places)}"
    given, asked = (high, low) if relation == ENTAILMENT else (low, high)
    bound = rng.choice((("at least", "exactly"), ("at least",), ("at most", "exactly"))[relation])
    return make_sentence(bound, given, group, end), make_sentence("at least", asked, group, end)


def make_conjunction_inference(rng: random.Random, words: Vocabulary, relation: int) -> Pair:
    """Each half of an "and" holds, of an "or" may, of a "neither" does not."""
    one, other = sample_two(rng, list_human_nouns(words))
    tail = f"{rng.choice(words.handlings).past} the {rng.choice(words.things)}"
    opener, link = (("both", "and"), ("either", "or"), ("neither", "nor"))[relation]
    who = rng.choice((one, other))
    return make_sentence(opener, "the", one, link, "the", other, tail), make_sentence("the", who, tail)


CONSTRUCTIONS: tuple[Construction, ...] = (
    make_voice_inference,
    make_hypernym_inference,
    make_quantity_inference,
    make_attitude_inference,
    make_implicative_inference,
    make_modifier_inference,
    make_event_order_inference,
    make_comparison_inference,
    make_number_inference,
    make_conjunction_inference,
)


def generate_mnli(rng: random.Random, words: Vocabulary) -> Example:
    """A premise and a hypothesis; label 0 entailment, 1 neutral, 2 contradiction."""
    relation = rng.randrange(3)
    return Example(rng.choice(CONSTRUCTIONS)(rng, words, relation), relation)
