"""The mathematics of selection, against slow references that follow the paper's words."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dps import selection
from dps.selection import (
    StageSchedule,
    accumulate_fam,
    accumulate_gam,
    compute_mix_score,
    compute_mixed_weight,
    select_mask,
)


def literal_mask(score: Tensor, share: Fraction) -> list[bool]:
    """Sort downward, take the score of rank ceil(numel * share), keep all that reach it."""
    values = score.flatten().tolist()
    rank = math.ceil(len(values) * share)
    threshold = sorted(values, reverse=True)[rank - 1]
    return [value >= threshold for value in values]


def literal_stage(step: int, interval: int) -> int:
    """Count the steps one by one, changing stage after each `interval`."""
    stage, left = 1, interval
    for _ in range(step - 1):
        left -= 1
        if left == 0:
            stage, left = 3 - stage, interval
    return stage


def test_the_interval_of_cola_is_80_and_step_81_is_the_first_of_stage_two() -> None:
    schedule = StageSchedule(max_steps=1605, update_ratio=0.05)
    assert schedule.interval == 80
    assert [schedule.stage(step) for step in (1, 80, 81, 160, 161)] == [1, 1, 2, 2, 1]
    assert [step for step in range(1, 242) if schedule.starts_stage(step)] == [1, 81, 161, 241]


@given(st.integers(1, 300), st.integers(1, 100))
def test_stages_alternate_every_interval(max_steps: int, percent: int) -> None:
    if int(max_steps * (percent / 100)) < 1:
        return
    schedule = StageSchedule(max_steps, percent / 100)
    assert schedule.interval == int(max_steps * (percent / 100))
    for step in (1, max_steps // 2 + 1, max_steps):
        assert schedule.stage(step) == literal_stage(step, schedule.interval)
        changes = step == 1 or schedule.stage(step) != schedule.stage(step - 1)
        assert schedule.starts_stage(step) == changes


@pytest.mark.parametrize(
    ("max_steps", "update_ratio", "message"),
    [
        (0, 0.5, "max_steps must be at least 1, but got 0"),
        (10, 0.0, r"update_ratio must be in \(0, 1\], but got 0.0"),
        (10, 1.5, r"update_ratio must be in \(0, 1\], but got 1.5"),
        (10, math.nan, r"update_ratio must be in \(0, 1\], but got nan"),
        (10, 0.05, r"max_steps \* update_ratio must be at least 1, but got 10 \* 0.05 = 0.5.*at least 0.1"),
    ],
)
def test_a_schedule_that_cannot_be_names_value_and_rule(
    max_steps: int, update_ratio: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        StageSchedule(max_steps, update_ratio)


def test_the_update_ratio_that_the_error_advises_works() -> None:
    for max_steps in range(1, 400):
        with pytest.raises(ValueError, match="use an update_ratio of at least") as refusal:
            StageSchedule(max_steps, 0.9 / max_steps)
        advised = float(str(refusal.value).rpartition(" ")[2])
        assert StageSchedule(max_steps, advised).interval >= 1


def test_the_mask_keeps_the_best_of_the_tensor() -> None:
    score = torch.tensor([[0.1, 0.9, 0.5], [0.7, 0.3, 0.2]])
    assert select_mask(score, 0.5).tolist() == [[False, True, True], [True, False, False]]


def test_the_rank_is_rounded_up() -> None:
    assert select_mask(torch.arange(10.0), 0.31).sum() == 4


def test_ties_at_the_threshold_are_kept() -> None:
    assert select_mask(torch.tensor([1.0, 2.0, 2.0, 2.0, 3.0]), 0.4).tolist() == [
        False,
        True,
        True,
        True,
        True,
    ]
    assert select_mask(torch.zeros(4, 4), 0.1).all()


@pytest.mark.parametrize("p", [0.1, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("numel", [10, 1000, 1_000_000])
def test_crumbs_of_floating_point_do_not_raise_the_rank(p: float, numel: int) -> None:
    assert select_mask(torch.arange(numel), 1 - p).sum() == numel - round(numel * p)


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 1e6, width=32) | st.integers(0, 3).map(float), min_size=1, max_size=60),
    st.integers(1, 100),
    st.booleans(),
)
def test_the_mask_is_that_of_a_full_sort(values: list[float], percent: int, double: bool) -> None:
    score = torch.tensor(values, dtype=torch.float64 if double else torch.float32)
    expected = literal_mask(score, Fraction(percent, 100))
    assert select_mask(score, percent / 100).tolist() == expected
    assert select_mask(score, 1 - (100 - percent) / 100).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)])
def test_the_mask_is_bool_of_the_scores_shape(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    score = torch.rand(shape, dtype=dtype).requires_grad_(False)
    before = score.clone()
    mask = select_mask(score, 0.5)
    assert mask.dtype == torch.bool
    assert mask.shape == shape
    assert torch.equal(score, before)


@pytest.mark.parametrize("layout", [lambda s: s.T, lambda s: s[:, ::2]], ids=["transposed", "strided"])
def test_the_layout_in_memory_does_not_matter(layout) -> None:  # type: ignore[no-untyped-def]
    score = layout(torch.rand(6, 8))
    assert torch.equal(select_mask(score, 0.3), select_mask(score.contiguous(), 0.3))


def test_selecting_all_selects_all_and_the_smallest_ratio_selects_the_best() -> None:
    score = torch.tensor([3.0, 1.0, 2.0])
    assert select_mask(score, 1.0).tolist() == [True, True, True]
    assert select_mask(score, 1e-12).tolist() == [True, False, False]


@pytest.mark.parametrize("ratio", [0.0, -0.3, 1.1, math.nan])
def test_a_selection_ratio_outside_its_range_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match=rf"selection_ratio must be in \(0, 1\], but got {ratio}"):
        select_mask(torch.rand(4), ratio)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_score_may_be_of_any_float_and_part_of_a_graph(dtype: torch.dtype) -> None:
    score = torch.tensor([[4.0, 1.0], [3.0, 2.0]], dtype=dtype, requires_grad=True)
    assert select_mask(score, 0.5).tolist() == [[True, False], [True, False]]
    assert select_mask(score.detach().t(), 0.5).tolist() == [[True, True], [False, False]]


def test_gam_adds_squared_gradients_in_place() -> None:
    gams = [torch.tensor([[1.0, 2.0]]), torch.tensor([5.0])]
    grads = [torch.tensor([[3.0, -4.0]]), torch.tensor([2.0])]
    accumulate_gam(gams, grads)
    assert [gam.tolist() for gam in gams] == [[[10.0, 18.0]], [9.0]]
    assert [grad.tolist() for grad in grads] == [[[3.0, -4.0]], [2.0]]


def test_fam_counts_activity_in_place() -> None:
    fam = torch.zeros(3)
    for active in ([True, False, True], [True, False, False]):
        assert accumulate_fam(fam, torch.tensor(active)) is fam
    assert fam.tolist() == [2.0, 0.0, 1.0]


@pytest.mark.parametrize(("interval", "penalised"), [(1, False), (49, False), (50, True), (80, True)])
def test_frequency_is_penalised_from_an_interval_of_50_on(interval: int, penalised: bool) -> None:
    gam, fam = torch.tensor([8.0, 8.0, 8.0]), torch.tensor([2.0, 4.0, 1.0])
    score = compute_mix_score(gam, fam, interval).tolist()
    for number, (g, f) in enumerate(zip(gam.tolist(), fam.tolist(), strict=True)):
        factor = math.exp(-f / interval) if penalised else 1.0
        assert score[number] == pytest.approx(g / f * factor, rel=1e-6)


def test_a_neuron_that_was_never_active_divides_by_one() -> None:
    assert compute_mix_score(torch.tensor([5.0]), torch.tensor([0.0]), 10).item() == 5.0
    assert compute_mix_score(torch.tensor([5.0]), torch.tensor([0.0]), 50).item() == 5.0


def test_the_score_of_mix_broadcasts_over_the_weight_and_leaves_its_inputs() -> None:
    gam, fam = torch.rand(3, 4), torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    before = gam.clone()
    score = compute_mix_score(gam, fam, 60)
    assert score.shape == (3, 4)
    assert torch.equal(gam, before)
    assert torch.equal(score[1], compute_mix_score(gam[1], fam[0], 60))


def test_the_mixed_weight_is_the_papers_formula() -> None:
    random = torch.Generator().manual_seed(0)
    weight, anchor = (torch.randn(4, 5, generator=random, dtype=torch.float64) for _ in range(2))
    active = torch.rand(1, 5, generator=random) < 0.5
    before = weight.clone(), anchor.clone()
    for p in (0.0, 0.3, 0.8):
        n = active.double()
        literal = ((1 - n) * anchor + n * weight - p * anchor) / (1 - p)
        torch.testing.assert_close(
            compute_mixed_weight(weight, anchor, active, 1 - p), literal, rtol=1e-12, atol=1e-12
        )
    assert torch.equal(weight, before[0])
    assert torch.equal(anchor, before[1])


def test_the_mixed_weight_is_right_on_average() -> None:
    weight, anchor, ratio = torch.tensor([2.0]), torch.tensor([-1.0]), 0.7
    active = compute_mixed_weight(weight, anchor, torch.tensor([True]), ratio)
    inactive = compute_mixed_weight(weight, anchor, torch.tensor([False]), ratio)
    assert (ratio * active + (1 - ratio) * inactive).item() == pytest.approx(2.0, rel=1e-6)


def test_the_penalty_threshold_is_the_papers() -> None:
    assert selection.MIN_PENALISED_INTERVAL == 50
