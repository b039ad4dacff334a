"""Random draws of the methods: the weights or input neurons that are active at a step.

A draw depends on (seed, step) alone: a resumed run, a recomputed forward pass under gradient checkpointing
and every rank see the same one, and only the seed needs saving.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dps.distributed import broadcast_value, move_to_device

CPU_DEVICE = torch.device("cpu")
DrawFunction = Callable[[str, int], Tensor]  # (parameter_name, step) -> bool (in_features,)


def derive_step_seed(seed: int, step: int) -> int:
    """Return a well-spread 63-bit seed of one step (the finaliser of SplitMix64)."""
    z = (seed + step * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return (z ^ z >> 31) >> 1


def make_neuron_draws(
    in_features: dict[str, int], selection_ratio: float, seed: int, device: torch.device = CPU_DEVICE
) -> DrawFunction:
    """Return a function that draws Bernoulli(selection_ratio) per input neuron, weight and step.

    in_features: number of input neurons by parameter name.

    Draws are made on the CPU, the same for every device, and copied to `device` in one piece.
    """
    drawn: dict[int, dict[str, Tensor]] = {}

    def draw(name: str, step: int) -> Tensor:
        if step not in drawn:
            drawn.clear()
            generator = torch.Generator().manual_seed(derive_step_seed(seed, step))
            noise = torch.rand(sum(in_features.values()), generator=generator) < selection_ratio
            noise = move_to_device(noise, device)
            drawn[step] = dict(zip(in_features, noise.split(list(in_features.values())), strict=True))
        return drawn[step][name]

    return draw


def get_shared_seed() -> int:
    """Return rank 0's torch seed, on every rank."""
    return broadcast_value(torch.initial_seed() % 2**62)


def make_generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    """Return the generator for the draws of one step."""
    return torch.Generator(device).manual_seed(derive_step_seed(seed, step))


def draw_bernoulli(like: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Draw a bool tensor, each element True with `probability`, of the shape and device of `like`."""
    return torch.rand(like.shape, generator=generator, device=like.device) < probability
