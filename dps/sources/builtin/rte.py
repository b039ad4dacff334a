"""RTE: does the second text follow from the first? Two classes, eleven constructions.

Every construction is a function `(rng, words, follows)` that returns a text and a hypothesis; its docstring
states what decides. Both classes share their words.

Sources: the constructions are among those of the FraCaS suite (Cooper et al., 1996)
and of the diagnostic set of Wang et al., "GLUE", ICLR 2019.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from dps.sources.builtin.grammar import Example, add_article, flip_coin, make_sentence, sample_two
from dps.sources.builtin.lexicon import Vocabulary, parse_pairs

Pair = tuple[str, str]
Construction = Callable[[random.Random, Vocabulary, bool], Pair]

FACTIVE_VERBS = parse_pairs("knew/know forgot/forget realized/realize regretted/regret discovered/discover")
NON_FACTIVE_VERBS = parse_pairs("thought/think claimed/claim hoped/hope believed/believe feared/fear")
POSITIVE_IMPLICATIVES = parse_pairs("managed/manage remembered/remember bothered/bother")
NEGATIVE_IMPLICATIVES = parse_pairs("failed/fail forgot/forget neglected/neglect")


def make_voice_entailment(rng: random.Random, words: Vocabulary, follows: bool) -> Pair:
    """The passive keeps who did what to whom, or swaps it."""
    person, other = sample_two(rng, words.humans)
    act = rng.choice(words.acts)
    text = make_sentence(
        "the", rng.choice(words.qualities), person, act.past, "the", other, rng.choice(words.times)
    )
    passive = flip_coin(rng)
    doer, target = (person, other) if follows else (other, person)
    if passive:
        return text, make_sentence("the", target, "was", act.participle, "by the", doer)
    return text, make_sentence("the", doer, act.past, "the", target)


def make_hypernym_entailment(rng: random.Random, words: Vocabulary, follows: bool) -> Pair:
    """A noun gives way to its hypernym; under "no", to its hyponym."""
    thing, denied = rng.choice(words.animals + words.things), flip_coin(rng)
    narrow_first = denied != follows
    before, after = (thing.singular, thing.kind) if narrow_first else (thing.kind, thing.singular)
    person, verb = rng.choice(words.humans), rng.choice(words.handlings)
    where = f"in the {rng.choice(words.places)}"

    def make_claim(noun: str) -> str:
        act = f"did not {verb.base} any {noun}" if denied else f"{verb.past} {add_article(noun)}"
        return make_sentence("the", person, act, where)

    return make_claim(before), make_claim(after)


def make_quantity_entailment(rng: random.Random, words: Vocabulary, follows: bool) -> Pair:
    """A stronger quantifier gives way to a weaker one, not the other way round."""
    group = rng.choice(words.humans + words.animals).plural
    scale = ("all", "most", "some") if flip_coin(rng) else ("none of the", "few", "not all")
    strong, weak = sorted(rng.sample(range(3), 2))
    before, after = (scale[strong], scale[weak]) if follows else (scale[weak], scale[strong])
    end = f"{rng.choice(words.moves).past} in the {rng.choice(words.places)}"
    return make_sentence(before, group, end), make_sentence(after, group, end)


def make_attitude_entailment(rng: random.Random, words: Vocabulary, follows: bool) -> Pair:
    """Facts known or regretted hold, beliefs and claims may not, negated or not."""
    person, other = sample_two(rng, words.humans)
    past, base = rng.choice(FACTIVE_VERBS if follows else NON_FACTIVE_VERBS)
    fact = f"the {other} {rng.choice(words.moves).past}"
    believes = f"did not {base}" if flip_coin(rng) else past
    return make_sentence("the", person, believes, "that", fact), make_sentence(fact)


def make_implicative_entailment(rng: random.Random, words: Vocabulary, follows: bool) -> Pair:
    """Having "managed to" entails the act and "failed to" denies it; a negation turns both round."""
    person, thing = rng.choice(words.humans), rng.choice(words.things)
    verb = rng.choice(words.handlings)
    denied = flip_coin(rng)
    past, base = rng.choice(NEGATIVE_IMPLICATIVES if denied == follows else POSITIVE_IMPLICATIVES)
    text = make_sentence("the", person, f"did not {base}" if denied else past, "to", verb.base, "the", thing)
    return text, make_sentence("the", person, verb.past, "the", thing)


def make_modifier_entailment(rng: random.Random, words: Vocabulary, follows: bool) -> Pair:
    """A modifier may be dropped, but not added."""
    person, thing = rng.choice(words.humans), rng.choice(words.things)
    look, other = sample_two(rng, words.looks)
    verb = rng.choice(words.handlings).past
    place, time = f"in the {rng.choice(words.places)}", rng.choice(words.times)
    long = (f"{look} {thing}", place if flip_coin(rng) else time)
    short = (thing, long[1]) if flip_coin(rng) else (long[0], "")
    before, after = (long, short) if follows else (short, long)
    subject = f"the {person} {verb} the {other}"
    return make_sentence(subject, *before), make_sentence(subject, *after)


def make_conjunction_entailment(rng: random.Random, words: Vocabulary, follows: bool) -> Pair:
    """Each half of an "and" follows, no half of an "or" does, and the halves do not mix."""
    person, other = sample_two(rng, words.humans)
    if flip_coin(rng):
        tail = f"{rng.choice(words.handlings).past} the {rng.choice(words.looks)} {rng.choice(words.things)}"
        link = "and" if follows else "or"
        return make_sentence("the", person, link, "the", other, tail), make_sentence("the", person, tail)
    first, second = (
        f"{rng.choice(words.handlings).past} the {thing}" for thing in sample_two(rng, words.things)
    )
    subject = other if follows else person
    return make_sentence("the", person, first, "and the", other, second), make_sentence(
        "the", subject, second
    )


def make_converse_entailment(rng: random.Random, words: Vocabulary, follows: bool) -> Pair:
    """Selling and buying, or giving and getting, swap the roles."""
    person, other = sample_two(rng, words.humans)
    gift = f"the {rng.choice(words.things)}"
    gives, gets = rng.choice((("sold {} to", "bought {} from"), ("gave {} to", "got {} from")))
    if flip_coin(rng):
        gives, gets = gets, gives
    text = make_sentence("the", person, gives.format(gift), "the", other, rng.choice(words.times))
    doer, target = (other, person) if follows else (person, other)
    return text, make_sentence("the", doer, gets.format(gift), "the", target)


def make_clause_entailment(rng: random.Random, words: Vocabulary, follows: bool) -> Pair:
    """The words "because" and "although" assert both clauses, "if" and "unless" assert neither."""
    person, other = sample_two(rng, words.humans)
    link = rng.choice(("because", "although", "after", "when") if follows else ("if", "unless", "in case"))
    first, second = (f"the {noun} {rng.choice(words.moves).past}" for noun in (person, other))
    return make_sentence(link, first + ",", second), make_sentence(rng.choice((first, second)))


def make_synonym_entailment(rng: random.Random, words: Vocabulary, follows: bool) -> Pair:
    """A verb gives way to a synonym or to its opposite."""
    person, other = sample_two(rng, words.humans)
    act, changed = rng.choice(words.act_synonyms if follows else words.act_opposites)
    text = make_sentence("the", rng.choice(words.qualities), person, act.past, "the", other)
    return text, make_sentence("the", person, changed.past, "the", other)


def make_detail_entailment(rng: random.Random, words: Vocabulary, follows: bool) -> Pair:
    """The hypothesis names the same place, or another one."""
    person, other = sample_two(rng, words.humans)
    place, elsewhere = (each for each in sample_two(rng, words.places))
    act = rng.choice(words.acts)
    text = make_sentence("the", person, act.past, "the", other, "in the", place, rng.choice(words.times))
    return text, make_sentence("the", person, "was in the", place if follows else elsewhere)


CONSTRUCTIONS: tuple[Construction, ...] = (
    make_voice_entailment, make_hypernym_entailment, make_quantity_entailment, make_attitude_entailment,
    make_implicative_entailment, make_modifier_entailment, make_conjunction_entailment,
    make_converse_entailment, make_clause_entailment, make_synonym_entailment, make_detail_entailment,
)  # fmt: skip


def generate_rte(rng: random.Random, words: Vocabulary) -> Example:
    """Generate a text and a hypothesis, with label 0 if it follows ("entailment"), else 1."""
    follows = flip_coin(rng)
    return Example(rng.choice(CONSTRUCTIONS)(rng, words, follows), int(not follows))
