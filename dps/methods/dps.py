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

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dps import selection
from dps.coverage import CoveredWeight
from dps.errors import InputError
from dps.methods.base import DEFAULT_DROPOUT, Attachment, Method, MethodCost, substitute_parameter
from dps.methods.draws import DrawFunction, get_shared_seed, make_neuron_draws
from dps.ranges import SHARE, Domain, Range, Rule, hyper_parameter

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


@dataclass(frozen=True)
class DPSDense(_DPS):
    """DPS Dense: Stage I trains the whole weight and accumulates its squared gradients."""

    name: ClassVar[str] = "dps-dense"

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
        return MethodCost(extra_bytes=4 + 4 + 1)  # W0; a GAM or T; a mask

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


@dataclass(eq=False)
class WeightState:
    """State of one covered weight in the current cycle; a tensor that is not in use is None.

    gam: Stage I, of the weight's shape.
    fam: Stage I of Mix, (in_features,).
    active: bool, broadcastable: n in Stage I of Mix, M in Stage II.
    anchor: Stage II: T, the weight at the start of the stage.
    pretrained: Mix: W0.
    """

    STATE_FIELDS: ClassVar = ("gam", "fam", "active", "anchor", "pretrained")

    covered: CoveredWeight
    gam: Tensor | None = None
    fam: Tensor | None = None
    active: Tensor | None = None
    anchor: Tensor | None = None
    pretrained: Tensor | None = None

    @property
    def value(self) -> Tensor:
        """The weight itself, without its graph."""
        return self.covered.parameter.detach()

    def clear(self) -> None:
        """Drop the state of the cycle."""
        self.gam = self.fam = self.active = self.anchor = None

    def state(self) -> dict[str, Tensor]:
        """Return the tensors in use by name."""
        return {key: value for key in self.STATE_FIELDS if (value := getattr(self, key)) is not None}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned, on the weight's device."""
        for key in self.STATE_FIELDS:
            value = state.get(key)
            setattr(self, key, None if value is None else value.to(self.value.device, copy=True))


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
        weight.gam = torch.zeros_like(weight.value, dtype=_accumulator_dtype(weight.value))

    def begin_stage_two(self, weight: WeightState) -> None:
        """Select the mask of a weight from what Stage I accumulated."""
        weight.active = selection.select_mask(self.score(weight), self.ratio)
        weight.gam = weight.fam = None
        if self.freeze == "update":
            weight.anchor = weight.value.clone()

    def score(self, weight: WeightState) -> Tensor:
        """Return the score that ranks the elements of a weight, of its shape."""
        assert weight.gam is not None
        return weight.gam

    def before_step(self) -> None:
        gams, grads = list[Tensor](), list[Tensor]()
        for weight in self.weights:
            grad = weight.covered.parameter.grad
            if grad is None:
                continue
            if weight.active is not None:
                grad.mul_(weight.active)
            if weight.gam is not None:
                gams.append(weight.gam)
                grads.append(grad.to(weight.gam.dtype))
        if gams:
            selection.accumulate_gam(gams, grads)

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
        """Return the share of the covered weights that the masks select, a scalar on their device."""
        masks = [weight.active for weight in self.weights if weight.active is not None]
        return torch.stack([mask.sum() for mask in masks]).sum().double() / sum(m.numel() for m in masks)

    def state(self) -> dict[str, Any]:
        return {
            "masked_steps": self.masked_steps,
            "selected": float(self.share_sum),
            "weights": {weight.covered.name: weight.state() for weight in self.weights},
        }

    def load(self, state: dict[str, Any]) -> None:
        self.masked_steps, self.share_sum = state["masked_steps"], state["selected"]
        saved = state["weights"]
        if set(saved) != {weight.covered.name for weight in self.weights}:
            raise ValueError(
                "load_state_dict: the state covers weights that this model does not have, or lacks some"
            )
        for weight in self.weights:
            weight.load(saved[weight.covered.name])
        if any(weight.active is not None for weight in self.weights):
            self.current_share = self._share()


class DPSMixAttachment(DPSDenseAttachment, method_class=DPSMix):
    """Attachment of DPS Mix: the forward pass reads a mixed weight."""

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
        self.seed = get_shared_seed()
        self.given_draw = draw
        super().__init__(method, model, optimizer, max_steps, max_grad_norm)

    def set_up(self) -> None:
        super().set_up()
        for weight in self.weights:
            weight.pretrained = weight.value.clone()
            for module, attribute in weight.covered.readers:
                self.substituted_modules.append(module)
                self.handles += substitute_parameter(module, attribute, self._reader(weight))

    def _reader(self, weight: WeightState) -> Callable[[Tensor], Tensor | None]:
        def mixed(value: Tensor) -> Tensor | None:
            anchor = weight.pretrained if weight.anchor is None else weight.anchor
            if self.ratio == 1 or weight.active is None or anchor is None:
                return None
            return selection.compute_mixed_weight(value, anchor, weight.active, self.ratio)

        return mixed

    def begin_step(self) -> None:
        super().begin_step()
        step = self.steps + 1
        if step <= self.schedule.max_steps and self.schedule.stage(step) == 1:
            self._draw()

    def _draw(self) -> None:
        draw = self.given_draw or make_neuron_draws(
            {w.covered.name: w.covered.in_features for w in self.weights},
            self.ratio,
            self.seed,
            self.weights[0].value.device,
        )
        for weight in self.weights:
            n = draw(weight.covered.name, self.steps + 1).to(weight.value.device, non_blocking=True)
            weight.active = weight.covered.broadcast_inputs(n)

    def begin_stage_one(self, weight: WeightState) -> None:
        super().begin_stage_one(weight)
        weight.fam = torch.zeros(
            weight.covered.in_features, dtype=_accumulator_dtype(weight.value), device=weight.value.device
        )

    def begin_stage_two(self, weight: WeightState) -> None:
        super().begin_stage_two(weight)
        weight.anchor = weight.value.clone()

    def score(self, weight: WeightState) -> Tensor:
        assert weight.gam is not None
        assert weight.fam is not None
        return selection.compute_mix_score(
            weight.gam, weight.covered.broadcast_inputs(weight.fam), self.schedule.interval
        )

    def before_step(self) -> None:
        super().before_step()
        for weight in self.weights:
            if weight.fam is not None and weight.active is not None:
                selection.accumulate_fam(weight.fam, weight.active.view(-1))

    def state(self) -> dict[str, Any]:
        return {**super().state(), "seed": self.seed}

    def load(self, state: dict[str, Any]) -> None:
        self.seed = state["seed"]
        super().load(state)


def _accumulator_dtype(value: Tensor) -> torch.dtype:
    return value.dtype if value.dtype in (torch.float32, torch.float64) else torch.float32
