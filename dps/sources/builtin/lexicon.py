"""Vocabulary of the generators, with inflected forms.

Dev sets use `VOCABULARY`; train sets use `get_train_vocabulary()`, which lacks every fifth item of each list,
so that dev has words that training never showed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

VOWELS = "aeiou"
HELD_OUT_STRIDE = 5


class Noun(NamedTuple):
    """Countable noun; as a text it is the singular. kind: its hypernym, in the singular."""

    singular: str
    plural: str
    kind: str = ""

    def __str__(self) -> str:
        return self.singular


class Verb(NamedTuple):
    """Verb with its five forms."""

    base: str
    third: str
    past: str
    participle: str
    ing: str


def make_plural(word: str) -> str:
    """Return the regular plural of a noun, which is also the regular third person of a verb."""
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ies"
    return word + "s"


def parse_nouns(words: str, kind: str = "") -> tuple[Noun, ...]:
    """Return nouns from "noun noun/plural ...": an irregular plural follows a slash."""
    pairs = (word.partition("/") for word in words.split())
    return tuple(Noun(word, plural or make_plural(word), kind) for word, _, plural in pairs)


def make_gerund_stem(base: str, stem: str) -> str:
    """Return the stem before "-ing": "lie" gives "ly", "love" gives "lov"."""
    if base.endswith("ie"):
        return base[:-2] + "y"
    return base[:-1] if base.endswith("e") and not base.endswith("ee") else stem


def parse_verb(text: str) -> Verb:
    """Return a verb from "base", "base/past" or "base/past/participle"; "+" doubles the final letter."""
    base, past, participle = [*text.split("/"), "", ""][:3]
    doubled = base.endswith("+")
    base = base.rstrip("+")
    stem = base + base[-1] if doubled else base
    ing = make_gerund_stem(base, stem) + "ing"
    if base.endswith("y") and base[-2] not in VOWELS:
        regular = base[:-1] + "ied"
    else:
        regular = base + "d" if base.endswith("e") else stem + "ed"
    past = past or regular
    return Verb(base, make_plural(base), past, participle or past, ing)


def parse_verbs(words: str) -> tuple[Verb, ...]:
    """Return verbs from texts between blanks, see `parse_verb`."""
    return tuple(parse_verb(word) for word in words.split())


def split_words(words: str) -> tuple[str, ...]:
    """Return the words of a text between blanks."""
    return tuple(words.split())


def parse_pairs(words: str) -> tuple[tuple[str, str], ...]:
    """Return pairs of words from "first/second first/second ..."."""
    split = (pair.partition("/") for pair in words.split())
    return tuple((first, second) for first, _, second in split)


def parse_verb_pairs(words: str) -> tuple[tuple[Verb, Verb], ...]:
    """Return pairs of verbs from "verb:verb verb:verb ..."."""
    split = (pair.partition(":") for pair in words.split())
    return tuple((parse_verb(first), parse_verb(second)) for first, _, second in split)


@dataclass(frozen=True)
class Vocabulary:
    """Vocabulary in lists, of which a share can be held out."""

    men: tuple[Noun, ...]
    women: tuple[Noun, ...]
    people: tuple[Noun, ...]
    animals: tuple[Noun, ...]
    things: tuple[Noun, ...]
    places: tuple[Noun, ...]
    qualities: tuple[str, ...]  # adjectives of people and animals
    looks: tuple[str, ...]  # adjectives of things
    acts: tuple[Verb, ...]  # transitive, person to person
    handlings: tuple[Verb, ...]  # transitive, person to thing
    moves: tuple[Verb, ...]  # intransitive
    act_synonyms: tuple[tuple[Verb, Verb], ...]
    act_opposites: tuple[tuple[Verb, Verb], ...]
    quality_synonyms: tuple[tuple[str, str], ...]
    quality_opposites: tuple[tuple[str, str], ...]
    times: tuple[str, ...]

    @property
    def humans(self) -> tuple[Noun, ...]:
        """Nouns for people of all kinds."""
        return self.men + self.women + self.people


VOCABULARY = Vocabulary(
    men=parse_nouns("man/men boy father brother king uncle husband son prince grandfather", "man"),
    women=parse_nouns(
        "woman/women girl mother sister queen aunt wife/wives daughter lady grandmother", "woman"
    ),
    people=parse_nouns(
        "teacher student doctor nurse lawyer artist singer farmer soldier driver writer player guard judge"
        " guest neighbor tourist scientist dancer priest sailor pilot painter hunter baker",
        "person",
    ),
    animals=parse_nouns(
        "dog cat horse cow bird pig rabbit wolf/wolves bear mouse/mice snake goat duck monkey lion", "animal"
    ),
    things=(
        *parse_nouns("apple banana lemon cherry", "fruit"),
        *parse_nouns("car truck bus bike", "vehicle"),
        *parse_nouns("guitar piano violin drum", "instrument"),
        *parse_nouns("hammer knife/knives shovel axe", "tool"),
        *parse_nouns("coat shirt jacket dress", "garment"),
        *parse_nouns("rifle sword pistol spear", "weapon"),
    ),
    places=parse_nouns(
        "park garden kitchen tower market library forest field church castle school hotel tunnel village cave"
    ),
    qualities=split_words(
        "tall old young happy tired angry quiet rich clever brave kind strong famous nervous sick"
    ),
    looks=split_words(
        "red heavy old new small green expensive dirty broken large black cheap strange blue huge"
    ),
    acts=parse_verbs(
        "help follow call push visit meet/met thank blame trust watch invite warn kiss praise hate"
        " see/saw/seen find/found know/knew/known admire love"
    ),
    handlings=parse_verbs(
        "buy/bought borrow carry repair bring/brought polish touch destroy hold/held take/took/taken use lift"
        " throw/threw/thrown damage keep/kept"
    ),
    moves=parse_verbs(
        "sleep/slept laugh smile run+/ran/run dance sing/sang/sung cry swim+/swam/swum fall/fell/fallen"
        " wait arrive leave/left shout die work"
    ),
    act_synonyms=parse_verb_pairs(
        "help:assist hit+/hit:strike/struck rescue:save phone:call choose/chose/chosen:select"
        " scare:frighten fool:trick harm:hurt/hurt chase:pursue admire:respect"
    ),
    act_opposites=parse_verb_pairs(
        "praise:blame love:hate push:pull help:attack trust:doubt follow:avoid accept:reject free:arrest"
        " like:dislike remember:forget+/forgot/forgotten"
    ),
    quality_synonyms=parse_pairs(
        "happy/glad angry/mad tired/weary rich/wealthy sick/ill famous/celebrated clever/smart quiet/silent"
        " scared/afraid brave/bold huge/enormous strange/odd"
    ),
    quality_opposites=parse_pairs(
        "happy/sad rich/poor young/old tall/short strong/weak brave/timid kind/cruel quiet/loud calm/nervous"
        " clever/stupid lucky/unlucky guilty/innocent"
    ),
    times=(
        "yesterday",
        "on monday",
        "last week",
        "in the morning",
        "after lunch",
        "last night",
        "in may",
        "on friday",
        "last summer",
        "at noon",
    ),
)


@cache
def get_train_vocabulary() -> Vocabulary:
    """Return the vocabulary of the train sets: `VOCABULARY` without every fifth item of each list."""
    return Vocabulary(
        **{
            name: tuple(item for index, item in enumerate(items) if index % HELD_OUT_STRIDE != 3)
            for name, items in vars(VOCABULARY).items()
        }
    )
