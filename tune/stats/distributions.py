"""Distributions as `scipy.stats` has them, made of functions of `scipy.special`, which is imported sooner."""

from __future__ import annotations

from scipy import special


def compute_t_tail(t: float, df: float) -> float:
    """Return the probability that Student's t of `df` degrees of freedom is above t."""
    return float(special.stdtr(df, -t))


def find_t_bound(tail: float, df: float) -> float:
    """Return the value that Student's t of `df` degrees of freedom is above with probability `tail`."""
    return float(-special.stdtrit(df, tail))


def find_normal_bound(tail: float) -> float:
    """Return the value that a standard normal variable is above with probability `tail`."""
    return float(-special.ndtri(tail))


def bound_proportion(count: int, total: int, tail: float) -> tuple[float, float]:
    """Return the exact bounds of a proportion of which `count` of `total` draws were seen: each of them is
    missed with probability `tail` at most.

    Source: Clopper and Pearson, "The Use of Confidence or Fiducial Limits Illustrated in the Case of the
    Binomial", Biometrika 1934.
    """
    low = 0.0 if count == 0 else float(special.betaincinv(count, total - count + 1, tail))
    high = 1.0 if count == total else float(special.betaincinv(count + 1, total - count, 1 - tail))
    return low, high
