"""CoLA: is the sentence grammatical? Minimal pairs from nineteen constructions.

Every construction is a function `(rng, words, good)` that returns a grammatical sentence if `good`, and
otherwise one that breaks just the rule that its docstring states.

Sources: the constructions are those of Warstadt et al., "Neural Network Acceptability
Judgments", TACL 2019, and of Warstadt et al., "BLiMP", TACL 2020.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from dps.sources.builtin.grammar import (
    Example,
    add_article,
    flip_coin,
    inflect_noun,
    make_sentence,
    sample_two,
)
from dps.sources.builtin.lexicon import Vocabulary, split_words

Construction = Callable[[random.Random, Vocabulary, bool], str]

ACCEPTABLE_SHARE = 0.7
SUBJECT_LINKS = split_words("near behind with beside against")
INTRANSITIVE_VERBS = split_words("slept laughed arrived smiled died fell vanished")  # never take an object
TRANSITIVE_VERBS = split_words("devoured fixed hit mentioned destroyed hired met")  # always take one


def make_phrase_agreement_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """The verb agrees with the head of the subject, not with the noun next to it."""
    head, other = sample_two(rng, words.humans)
    many, near = flip_coin(rng), flip_coin(rng)
    be = "are" if many == good else "is"
    quality = rng.choice(words.qualities)
    return make_sentence(
        "the",
        inflect_noun(head, many),
        rng.choice(SUBJECT_LINKS),
        "the",
        inflect_noun(other, near),
        be,
        quality,
    )


def make_clause_agreement_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """The verb agrees with the head of the subject across a relative clause."""
    head, other = sample_two(rng, words.humans)
    many = flip_coin(rng)
    move = rng.choice(words.moves)
    act = rng.choice(words.acts)
    inner = act.third if many else act.base  # the inner subject has the other number
    outer = move.base if many == good else move.third
    return make_sentence(
        "the", inflect_noun(head, many), "that the", inflect_noun(other, not many), inner, "often", outer
    )


def make_reflexive_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """A reflexive agrees in gender with the subject of its own clause."""
    male, female = rng.choice(words.men), rng.choice(words.women)
    subject, other = (male, female) if flip_coin(rng) else (female, male)
    own = "himself" if subject is male else "herself"
    wrong = "herself" if subject is male else "himself"
    frame = rng.choice(("said that the {s} {v} {r}", "knew the {s} had {p} {r}", "near the {s} {v} {r}"))
    if frame.startswith("near"):  # here the subject is the first noun, so the other reflexive binds
        own, wrong = wrong, own
    act = rng.choice(words.acts)
    filled = frame.format(s=subject, v=act.past, p=act.participle, r=own if good else wrong)
    return make_sentence("the", other, filled)


def make_determiner_number_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """A determiner agrees with its noun across an adjective."""
    thing, person = rng.choice(words.things), rng.choice(words.humans)
    many = flip_coin(rng)
    determiner = rng.choice(
        ("these", "those", "many", "several") if many else ("this", "that", "every", "each")
    )
    look = rng.choice(words.looks)
    return make_sentence(
        "the", person, rng.choice(words.handlings).past, determiner, look, inflect_noun(thing, many == good)
    )


def make_transitivity_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """Some verbs refuse an object and some demand one."""
    person, thing, place = (rng.choice(words.humans), rng.choice(words.things), rng.choice(words.places))
    needs_object = flip_coin(rng)
    action = rng.choice(TRANSITIVE_VERBS if needs_object else INTRANSITIVE_VERBS)
    has_object = needs_object == good
    return make_sentence("the", person, action, f"the {thing}" if has_object else "", "in the", place)


def make_polarity_item_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """The words "ever" and "any" need a negation that commands them; one in a relative clause does not."""
    head, other = sample_two(rng, words.humans)
    negation, plain = ("no", "the") if good else ("the", "no")
    act, place = rng.choice(words.acts), rng.choice(words.places)
    ending = rng.choice(
        (f"has ever {act.participle} anyone", f"has {act.participle} any {other.plural} at all")
    )
    ending = ending if flip_coin(rng) else f"ever went to any {place}"
    return make_sentence(negation, head, "that", plain, other, rng.choice(words.acts).past, ending)


def make_gap_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """A fronted question word leaves a gap, which nothing may fill."""
    person, other = sample_two(rng, words.humans)
    say = rng.choice(("say", "think", "know", "believe"))
    handled, thing = rng.choice(words.handlings).past, f"the {rng.choice(words.things)}"
    asks_what = flip_coin(rng) or not good
    filler = "" if asks_what and good else thing
    opening = "what did the" if asks_what else "did the"
    return make_sentence(opening, person, say, "that the", other, handled, filler, end="?")


def make_island_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """Nothing moves out of an adverbial clause or a relative clause."""
    person, other = sample_two(rng, words.humans)
    handled, act = rng.choice(words.handlings).past, rng.choice(words.acts)
    move = rng.choice(words.moves).base
    if flip_coin(rng):
        link = "say that" if good else f"{move} " + rng.choice(("after", "because", "before", "while"))
        return make_sentence("what did the", person, link, "the", other, handled, end="?")
    tail = f"that the {other} {handled}" if good else f"the {other} that {handled}"
    opening = "which things did the" if not good else "who saw the things"
    middle = "" if good else f"{person} {act.base}"
    return make_sentence(opening, middle, tail, end="?")


def make_auxiliary_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """Each auxiliary fixes the form of the verb after it, across an adverb."""
    person, thing = rng.choice(words.humans), rng.choice(words.things)
    handling = rng.choice(words.handlings)
    right = {"has": handling.participle, "will": handling.base, "did not": handling.base, "is": handling.ing}
    auxiliary = rng.choice(tuple(right))
    wrong = [f for f in (handling.base, handling.past, handling.ing) if f != right[auxiliary]]
    chosen = right[auxiliary] if good else rng.choice(wrong)
    adverb = rng.choice(("often", "always", "quickly"))
    return make_sentence("the", person, auxiliary, adverb, chosen, "the", thing)


def make_adverb_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """No adverb stands between a verb and its object."""
    person, thing = rng.choice(words.humans), rng.choice(words.things)
    adverb = rng.choice(split_words("quickly often carefully always suddenly never quietly"))
    action, thing_phrase = rng.choice(words.handlings).past, f"the {rng.choice(words.looks)} {thing}"
    parts = (adverb, action, thing_phrase) if good else (action, adverb, thing_phrase)
    return make_sentence("the", rng.choice(words.qualities), person, *parts)


def make_control_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """The verb "persuade" takes an object before its infinitive, "try" does not."""
    person, other = sample_two(rng, words.humans)
    with_object = flip_coin(rng)
    takers = split_words("persuaded forced told ordered invited taught")
    refusers = split_words("tried decided managed refused hoped agreed")
    action = rng.choice(takers if with_object == good else refusers)
    move = rng.choice(words.moves).base
    return make_sentence("the", person, action, f"the {other}" if with_object else "", "to", move)


def make_raising_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """The subjects "there" and weather "it" stand with raising predicates, not with control predicates."""
    thing, place = rng.choice(words.things), rng.choice(words.places)
    raises = ("likely", "certain", "bound", "sure")
    controls = ("eager", "willing", "afraid", "ready")
    predicate = rng.choice(raises if good else controls)
    subject = f"there is {predicate} to be {add_article(f'{rng.choice(words.looks)} {thing}')}"
    if flip_coin(rng):
        return make_sentence(subject, "in the", place)
    if flip_coin(rng):
        return make_sentence("it is", predicate, "to rain near the", place)
    person = rng.choice(words.humans)  # both kinds are fine here: the words do not decide
    if good:
        return make_sentence("the", person, "is", rng.choice(controls), "to", rng.choice(words.moves).base)
    return make_sentence("it is", predicate, "that the", person, "left")


def make_coordination_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """The opener "both" goes with "and", "either" with "or", "neither" with "nor"."""
    mates = {"both": "and", "either": "or", "neither": "nor"}
    first, second = sample_two(rng, words.humans)
    opener = rng.choice(tuple(mates))
    link = mates[opener] if good else rng.choice([mate for key, mate in mates.items() if key != opener])
    end = f"{rng.choice(words.handlings).past} the {rng.choice(words.things)}"
    return make_sentence(opener, "the", first, link, "the", second, end)


def make_dative_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """Only some verbs of giving allow the receiver before the gift."""
    person, other = sample_two(rng, words.humans)
    allows = rng.choice(("gave", "sent", "showed", "offered", "handed"))
    refuses = rng.choice(("donated", "explained", "returned", "described", "mentioned"))
    gift = f"the {rng.choice(words.things)}"
    if flip_coin(rng):
        return make_sentence("the", person, allows if good else refuses, "the", other, gift)
    receiver = f"to the {other}" if good else f"the {other}"
    return make_sentence("the", person, refuses, *((gift, receiver) if good else (receiver, gift)))


def make_passive_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """Only transitive verbs have a passive, and the passive keeps no object."""
    person, other = sample_two(rng, words.humans)
    action = rng.choice(words.acts).participle if good else rng.choice(INTRANSITIVE_VERBS)
    if flip_coin(rng):
        return make_sentence("the", person, "was", action, "by the", other)
    extra = "" if good else f"the {rng.choice(words.things)}"
    return make_sentence("the", person, "was", rng.choice(words.acts).participle, extra, "by the", other)


def make_inversion_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """A main question inverts subject and auxiliary; an embedded question does not."""
    person, thing = rng.choice(words.humans), rng.choice(words.things)
    participle = rng.choice(words.handlings).participle
    straight, inverted = f"the {person} has", f"has the {person}"
    which = rng.choice((f"which {thing}", "what", "why"))
    tail = f"{participle} the {thing}" if which == "why" else participle
    if flip_coin(rng):
        opener = rng.choice(("i wonder", "she knows", "nobody knows", "they asked"))
        return make_sentence(opener, which, straight if good else inverted, tail)
    return make_sentence(which, inverted if good else straight, tail, end="?")


def make_that_trace_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """A subject cannot be questioned out of a clause with "that"; an object can."""
    person, other = sample_two(rng, words.humans)
    act = rng.choice(words.acts).past
    opener = f"who did the {person} {rng.choice(('say', 'think', 'believe', 'claim'))}"
    if flip_coin(rng):
        return make_sentence(opener, "" if good else "that", act, "the", other, end="?")
    if good:
        return make_sentence(opener, "that the", other, act, end="?")
    return make_sentence(opener, "that the", other, rng.choice(INTRANSITIVE_VERBS), end="?")


def make_definiteness_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """The frame "there is" introduces indefinite noun phrases only."""
    thing, place = rng.choice(words.things), rng.choice(words.places)
    weak = (
        f"are many {thing.plural}",
        f"is one {thing}",
        f"are no {thing.plural}",
        f"are some {thing.plural}",
    )
    strong = (f"is every {thing}", f"are all the {thing.plural}", f"is each {thing}", f"is the {thing}")
    where = f"in the {place}"
    if flip_coin(rng):
        return make_sentence("there", rng.choice(weak if good else strong), where)
    be, phrase = rng.choice(weak + strong).split(" ", 1)
    return make_sentence(phrase, *((be, where) if good else (where, be)))


def make_comparative_sentence(rng: random.Random, words: Vocabulary, good: bool) -> str:
    """A comparative is marked once and takes "than"; "as" takes the plain form."""
    person, other = sample_two(rng, words.humans)
    plain = rng.choice(("tall", "old", "strong", "young", "rich", "quick", "small"))
    more = plain + "er"
    right = (f"{more} than", f"as {plain} as", f"much {more} than")
    wrong = (f"more {more} than", f"as {more} as", f"as {plain} than")
    return make_sentence("the", person, "is", rng.choice(right if good else wrong), "the", other)


CONSTRUCTIONS: tuple[Construction, ...] = (
    make_phrase_agreement_sentence, make_clause_agreement_sentence, make_reflexive_sentence,
    make_determiner_number_sentence, make_transitivity_sentence, make_polarity_item_sentence,
    make_gap_sentence, make_island_sentence, make_auxiliary_sentence, make_adverb_sentence,
    make_control_sentence, make_raising_sentence, make_coordination_sentence, make_dative_sentence,
    make_passive_sentence, make_inversion_sentence, make_that_trace_sentence, make_definiteness_sentence,
    make_comparative_sentence,
)  # fmt: skip


def generate_cola(rng: random.Random, words: Vocabulary) -> Example:
    """Generate a sentence, with label 1 if it is acceptable."""
    good = flip_coin(rng, ACCEPTABLE_SHARE)
    return Example((rng.choice(CONSTRUCTIONS)(rng, words, good),), int(good))
