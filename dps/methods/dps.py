"""Dynamic Parameter Selection, Dense and Mix.

    step t of U-step stages    Dense                        Mix
    Stage I   forward          W                            ((1-n)*W0 + n*W - p*W0) / (1-p)
              GAM              += gradient²                 += gradient² * n      (FAM += n)
              gradient         unchanged                    * n
    between   M                GAM >= its rank              GAM/max(FAM,1) [* exp(-FAM/U)] >= its rank
    Stage II  forward          W                            ((1-M)*T + M*W - p*T) / (1-p)
              gradient         * M                          * M

p is 1 - selection_ratio; n is drawn for each input neuron and step; W0 is the pre-trained weight, T the
weight at the start of the stage. Each cycle of two stages begins with empty GAM, FAM and M.

Source: Zhang et al., NeurIPS 2022 (arXiv 2211.01642), algorithms 1 and 2.
Values to try: selection_ratio 0.7 (0.3 to 0.9), update_ratio 0.05 (0.02 to 0.2).
Costs: no extra pass; for each covered weight Dense keeps a GAM (or, with freeze="update", the
weight at the start of Stage II) and a mask; Mix also W0, and a mixed weight a forward pass.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from dps import selection
from dps.attachment import DEFAULT_DROPOUT, Attachment, Method, MethodCost
from dps.attachment.draws import DrawFunction, NeuronVector, SharedSeed, draw_input_neurons
from dps.attachment.mixing import MixedWeights
from dps.attachment.weight_state import WeightState
from dps.distributed import get_world_size, join_parts, split_like
from dps.errors import InputError
from dps.lazy import nn, torch
from dps.ranges import SHARE, Domain, Range, Rule, hyper_parameter

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

FREEZE_RULE = Rule("'gradient' or 'update'", lambda value: value in ("gradient", "update"))
MIN_DROPOUT_STEPS = 2000  # the reference trains Dense with dropout again from this length on
MIN_INTERVAL_STEPS = 3  # steps of a searched staging interval; fewer see too few gradients


@dataclass(frozen=True)
class _DPS(Method):
    """Hyper-parameters of DPS Dense and DPS Mix.

    selection_ratio: share of each covered weight that Stage II updates (1 - p), in (0, 1].
    update_ratio: staging interval as a share of the run, in (0, 1]; at least one step.
    freeze: "gradient" masks gradients, as the reference does: Adam still moves unselected weights through
        momentum and weight decay. "update" keeps unselected weights bit for bit through Stage II; their
        momentum decays under a gradient of zero.
    """

    selection_ratio: float = hyper_parameter(0.7, SHARE)
    update_ratio: float = hyper_parameter(0.05, SHARE)
    freeze: Literal["gradient", "update"] = hyper_parameter("gradient", FREEZE_RULE)
    selects_weights: ClassVar[bool] = True
    plans_length: ClassVar[bool] = True
    counts_steps: ClassVar[bool] = True

    @classmethod
    def search_space(cls, max_steps: int, layers: int) -> dict[str, Domain]:
        """Return the search space; the lower bound of update_ratio rises for short runs."""
        if max_steps < 4:
            raise InputError(
                f"--max-steps: DPS needs at least 4 steps for its two stages, but a trial has {max_steps}"
            )
        floor = min(0.2, max(0.01, MIN_INTERVAL_STEPS / max_steps))
        return {
            "selection_ratio": Range(0.2, 0.9),
            "update_ratio": Range(max(floor, 1 / max_steps), 0.25, log=True),
        }

    def fit_to_length(self, max_steps: int) -> Self:
        """Return the method with a staging interval of at least one step."""
        if int(max_steps * self.update_ratio) >= 1:
            return self
        one_step = (1 + 1e-9) / max_steps  # a little more: 49 * (1 / 49) is less than 1
        return replace(self, update_ratio=min(1.0, one_step))


@dataclass(frozen=True)
class DPSDense(_DPS):
    """DPS Dense: Stage I trains the whole weight and accumulates its squared gradients."""

    name: ClassVar[str] = "dps-dense"
    takes_shards: ClassVar[bool] = True

    @property
    def cost(self) -> MethodCost:
        return MethodCost(extra_bytes=4 + 1)  # a GAM, or a copy with freeze="update"; a mask

    def dropout(self, max_steps: int) -> float:
        return DEFAULT_DROPOUT if max_steps >= MIN_DROPOUT_STEPS else 0.0


@dataclass(frozen=True)
class DPSMix(_DPS):
    """DPS Mix: Stage I trains random sub-networks of input neurons, mixed with the pre-trained weight."""

    name: ClassVar[str] = "dps-mix"
    needs_pretrained: ClassVar[bool] = True

    @property
    def cost(self) -> MethodCost:
        return MethodCost(extra_bytes=4 + 4 + 4 + 1)  # W0; a GAM or T; W while it is mixed; a mask

    def dropout(self, max_steps: int) -> float:
        return 0.0

    def attach(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        max_steps: int,
        max_grad_norm: float | None = None,
        draw: DrawFunction | None = None,
    ) -> Optimizer:
        """Attach DPS Mix, see `Method.attach`.

        draw: (parameter_name, step) -> bool tensor (in_features,), in place of the method's own draws; called
            once for each weight and step of Stage I.
        """
        DPSMixAttachment(self, model, optimizer, max_steps, max_grad_norm, draw)
        return optimizer


class DPSDenseAttachment(Attachment, method_class=DPSDense):
    """Attachment of DPS Dense, and base of that of DPS Mix.

    share_sum: sum over `masked_steps` steps of the share of the covered weights that the masks selected.
    """

    method: _DPS

    def set_up(self) -> None:
        method = self.method
        self.schedule = selection.StageSchedule(self.max_steps, method.update_ratio)
        self.ratio, self.freeze = method.selection_ratio, method.freeze
        self.weights = [WeightState(weight) for weight in self.find_trained_weights()]
        self.masked_steps = 0
        self.share_sum: float | Tensor = 0.0

    def start(self) -> None:
        self.begin_step()

    @property
    def selected_share(self) -> float | None:
        """Mean share of the covered weights that Stage II selected so far; None before its first step."""
        return float(self.share_sum) / self.masked_steps if self.masked_steps else None

    def begin_step(self) -> None:
        """Set up step `steps + 1` before its forward pass. Nothing is masked after max_steps."""
        step = self.steps + 1
        if step > self.schedule.max_steps:
            for weight in self.weights:
                weight.clear()
        elif self.schedule.starts_stage(step):
            for weight in self.weights:
                if self.schedule.stage(step) == 1:
                    self.begin_stage_one(weight)
                else:
                    self.begin_stage_two(weight)

    def begin_stage_one(self, weight: WeightState) -> None:
        """Start accumulating the squared gradients of a weight."""
        weight.active = weight.anchor = None
        weight.used = False
        weight.gam = torch.zeros_like(weight.value, dtype=_accumulator_dtype(weight.value))

    def begin_stage_two(self, weight: WeightState) -> None:
        """Select the mask of a weight from what Stage I accumulated."""
        whole = join_parts(self.score(weight))
        weight.active = split_like(selection.select_mask(whole, self.ratio), weight.value)
        weight.gam = weight.fam = None
        if self.freeze == "update":
            weight.anchor = weight.value.clone()

    def score(self, weight: WeightState) -> Tensor:
        """Return the score that ranks the elements of a weight, of its shape."""
        assert weight.gam is not None
        return weight.gam

    def before_step(self) -> None:
        weights = [(w, grad) for w in self.weights if (grad := w.covered.parameter.grad) is not None]
        masked = [(grad, weight.active) for weight, grad in weights if weight.active is not None]
        if masked:
            torch._foreach_mul_([grad for grad, _ in masked], [active for _, active in masked])
        summed = [(w.gam, grad.to(w.gam.dtype)) for w, grad in weights if w.gam is not None]
        if summed:
            selection.accumulate_gam([gam for gam, _ in summed], [grad for _, grad in summed])
        for weight, _ in weights:
            weight.used = True

    def after_step(self) -> None:
        if self.steps <= self.schedule.max_steps and self.schedule.stage(self.steps) == 2:
            if self.freeze == "update":
                self._restore_unselected()
            if self.schedule.starts_stage(self.steps):
                self.current_share = self._share()
            self.masked_steps += 1
            self.share_sum = self.share_sum + self.current_share
        self.begin_step()

    def _restore_unselected(self) -> None:
        for weight in self.weights:
            assert weight.active is not None
            assert weight.anchor is not None
            torch.where(weight.active, weight.value, weight.anchor, out=weight.value)

    def _share(self) -> Tensor:
        """Return the share of the covered weights that the masks select, a scalar on their device.

        Weights that no forward pass uses do not count: their mask lets all through, for want of gradients.
        """
        weights = [weight for weight in self.weights if weight.used] or self.weights
        masks = [weight.active for weight in weights if weight.active is not None]
        selected = join_parts(torch.stack([mask.sum() for mask in masks]).sum())
        return selected.double() / sum(mask.numel() for mask in masks)

    def state(self) -> dict[str, Any]:
        return {
            "masked_steps": self.masked_steps,
            "selected": float(self.share_sum),
            "unused": [weight.covered.name for weight in self.weights if not weight.used],
            "weights": {weight.covered.name: weight.state() for weight in self.weights},
        }

    def load(self, state: dict[str, Any]) -> None:
        saved = state["weights"]
        if set(saved) != {weight.covered.name for weight in self.weights}:
            raise ValueError(
                "load_state_dict: the state covers weights that this model does not have, or lacks some"
            )
        self.masked_steps, self.share_sum = state["masked_steps"], state["selected"]
        for weight in self.weights:
            weight.load(saved[weight.covered.name])
            weight.used = weight.covered.name not in state.get("unused", ())
        if any(weight.active is not None for weight in self.weights):
            self.current_share = self._share()


class DPSMixAttachment(DPSDenseAttachment, method_class=DPSMix):
    """Attachment of DPS Mix: the forward pass reads a mixed weight.

    active, fam: n and FAM of all weights in one piece, as long as Stage I lasts.
    factor: n / (1-p).
    is_uniform: whether all weights have one type and lie on one device.
    follows_ranks: whether W0 may yet turn out to be another rank's (a wrapper shares rank 0's weights).
    """

    method: DPSMix

    def __init__(
        self,
        method: DPSMix,
        model: nn.Module,
        optimizer: Optimizer,
        max_steps: int,
        max_grad_norm: float | None,
        draw: DrawFunction | None = None,
    ) -> None:
        self.seed = SharedSeed()
        self.given_draw = draw
        self.follows_ranks = True
        super().__init__(method, model, optimizer, max_steps, max_grad_norm)

    def set_up(self) -> None:
        super().set_up()
        for weight in self.weights:
            weight.pretrained = weight.value.clone()
        covered, values = ([getattr(w, name) for w in self.weights] for name in ("covered", "value"))
        self.active = NeuronVector(covered, torch.bool)
        self.fam = NeuronVector(covered, _accumulator_dtype(values[0]))
        self.factor = NeuronVector(covered, values[0].dtype)
        if self.schedule.interval == 1 and self.ratio < 1:
            warnings.warn(
                f"dps-mix: an interval of 1 step scores only the input neurons of one draw, so that Stage II "
                f"updates more than selection_ratio={self.ratio}; give an update_ratio of at least "
                f"{2 / self.max_steps:g}",
                stacklevel=2,
            )
        self.is_uniform = len({(value.dtype, value.device) for value in values}) == 1
        self.mixed_weights = MixedWeights(self.method.name, self.model, covered, self._mix)

    def _mix(self, values: list[Tensor]) -> list[Tensor] | None:
        """Return the weights that the forward passes of step `steps + 1` read; None for W itself."""
        self._agree(values)
        if self.ratio == 1 or self.weights[0].active is None:
            return None
        in_stage_one = self.schedule.stage(self.steps + 1) == 1
        anchors = [_require(w.pretrained if in_stage_one else w.anchor) for w in self.weights]
        masks = [_require(weight.active) for weight in self.weights]
        scale = torch.tensor(1 / self.ratio, dtype=values[0].dtype)
        if self.is_uniform and in_stage_one:  # for all weights at once
            torch.mul(self.active.flat, scale, out=self.factor.flat)
            return list(torch._foreach_lerp(anchors, values, self.factor.views))
        if self.is_uniform and self.freeze == "update":  # W is T where the mask is off
            return list(torch._foreach_lerp(anchors, values, scale.item()))
        return [
            selection.compute_mixed_weight(value, anchor, mask, self.ratio)
            for value, anchor, mask in zip(values, anchors, masks, strict=True)
        ]

    def _agree(self, values: list[Tensor]) -> None:
        """Take over the draws of other ranks, once there are any, and W0 from the weights that they share."""
        if self.seed.agree() and self.weights[0].gam is not None:
            self._draw()
        if self.follows_ranks and get_world_size() > 1:
            torch._foreach_copy_([_require(weight.pretrained) for weight in self.weights], values)
        self.follows_ranks = False

    def begin_step(self) -> None:
        super().begin_step()
        step = self.steps + 1
        if step <= self.schedule.max_steps and self.schedule.stage(step) == 1:
            self._draw()

    def _draw(self) -> None:
        step, device = self.steps + 1, self.active.flat.device
        if self.given_draw is None:
            drawn = draw_input_neurons(len(self.active.flat), self.ratio, self.seed.value, step, device)
        else:
            draws = [self.given_draw(weight.covered.name, step).view(-1) for weight in self.weights]
            drawn = torch.cat([draw.to(device) for draw in draws])
        self.active.flat.copy_(drawn, non_blocking=True)
        for weight, active in zip(self.weights, self.active.views, strict=True):
            weight.active = active.to(weight.value.device)

    def begin_stage_one(self, weight: WeightState) -> None:
        super().begin_stage_one(weight)
        number = self.weights.index(weight)
        weight.fam = self.fam.parts[number].zero_()

    def begin_stage_two(self, weight: WeightState) -> None:
        super().begin_stage_two(weight)
        weight.anchor = weight.value.clone()

    def score(self, weight: WeightState) -> Tensor:
        gam, fam = _require(weight.gam), weight.covered.broadcast_inputs(_require(weight.fam))
        return selection.compute_mix_score(gam, fam.to(gam.device), self.schedule.interval)

    def before_step(self) -> None:
        super().before_step()
        if self.weights[0].fam is not None:
            selection.accumulate_fam(self.fam.flat, self.active.flat)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "seed": self.seed.value}

    def load(self, state: dict[str, Any]) -> None:
        self.seed.value = state["seed"]
        self.follows_ranks = False
        super().load(state)
        if self.weights[0].fam is not None:
            self.fam.load([_require(weight.fam) for weight in self.weights])
            self.active.load([_require(weight.active) for weight in self.weights])
            for number, weight in enumerate(self.weights):
                weight.fam = self.fam.parts[number]


def _require(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def _accumulator_dtype(value: Tensor) -> torch.dtype:
    return value.dtype if value.dtype in (torch.float32, torch.float64) else torch.float32
