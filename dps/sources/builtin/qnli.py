from __future__ import annotations
import random
from dps.sources.builtin.grammar import Example
from dps.sources.builtin.lexicon import Words
def generate(rng: random.Random, words: Words) -> Example:
    raise NotImplementedError
