"""Random draws of the methods: the weights or input neurons that are active at a step.

A draw depends on (seed, step) alone: a resumed run, a recomputed forward pass under gradient checkpointing
and every rank see the same one, and only the seed needs saving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from dps.coverage import CoveredWeight
from dps.distributed import broadcast_value, get_world_size, move_to_device
from dps.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

DrawFunction: TypeAlias = "Callable[[str, int], Tensor]"  # (parameter_name, step) -> bool (in_features,)


def derive_step_seed(seed: int, step: int) -> int:
    """Return a well-spread 63-bit seed of one step (the finaliser of SplitMix64)."""
    z = (seed + step * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return (z ^ z >> 31) >> 1


def draw_input_neurons(
    count: int, selection_ratio: float, seed: int, step: int, device: torch.device | None = None
) -> Tensor:
    """Return Bernoulli(selection_ratio) draws of one step for `count` input neurons, bool (count,).

    They are made on the CPU, so that every device gets the same, and move to `device` in one piece.
    """
    generator = torch.Generator().manual_seed(derive_step_seed(seed, step))
    drawn = torch.rand(count, generator=generator) < selection_ratio
    return drawn if device is None else move_to_device(drawn, device)


def seed_draws(seed: int) -> None:
    """Seed the draws that torch makes by itself, such as those of dropout."""
    torch.manual_seed(seed)


class NeuronVector:
    """Vector over the input neurons of several weights.

    flat: all neurons in one piece, on the device of the first weight.
    parts: views of it by weight, (in_features,).
    views: the parts, shaped so that they broadcast over their weights.
    """

    def __init__(self, weights: Sequence[CoveredWeight], dtype: torch.dtype) -> None:
        sizes = [weight.in_features for weight in weights]
        self.flat = torch.zeros(sum(sizes), dtype=dtype, device=weights[0].parameter.device)
        self.parts = self.flat.split(sizes)
        self.views = [w.broadcast_inputs(part) for w, part in zip(weights, self.parts, strict=True)]

    def load(self, parts: Iterable[Tensor]) -> None:
        """Take over the values of each part."""
        for own, part in zip(self.parts, parts, strict=True):
            own.copy_(part.reshape(-1))


class SharedSeed:
    """Seed that every rank has: the process's own torch seed, and rank 0's from when there are several.

    value: the seed; ranks share it once they agreed on it.
    """

    def __init__(self) -> None:
        self.value = torch.initial_seed() % 2**62
        self._agreed = False
        self.agree()

    def agree(self) -> bool:
        """Take rank 0's seed, once, as soon as a process group is up; return whether that just happened."""
        if self._agreed or get_world_size() == 1:
            return False
        self.value = broadcast_value(self.value)
        self._agreed = True
        return True


def make_generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    """Return the generator for the draws of one step."""
    return torch.Generator(device).manual_seed(derive_step_seed(seed, step))


def draw_bernoulli(like: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Draw a bool tensor, each element True with `probability`, of the shape and device of `like`."""
    return torch.rand(like.shape, generator=generator, device=like.device) < probability
