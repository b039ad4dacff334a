"""Mixed weights: the forward passes of training read them in place of the trained weights.

From the first forward pass of a step in training mode to the optimizer's step, the storage of each mixed
parameter holds the mixed weight, and the trained weight waits here. One computation a step serves all layers
and all passes, whoever reads the parameter, and the gradient of the mixed weight lands in `.grad` by itself.
An evaluation pass, `state_dict`, a deep copy and the optimizer see the trained weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from dps.attachment.hooks import ModuleHook
from dps.attachment.weights import assign_weights
from dps.coverage import CoveredWeight, unwrap_model
from dps.lazy import nn, torch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

MixFunction: TypeAlias = "Callable[[list[Tensor]], list[Tensor] | None]"


class MixedWeights:
    """Mixed weights of one attached model.

    mix: returns the mixed weights, given the trained ones; None if nothing is mixed in this step.
    held: whether the parameters hold the mixed weights; None while they change, also after an interrupt.
    trained: the trained weights while the parameters hold mixed ones, else None.
    was_read: whether a forward pass in training mode has taken place since the last step.
    """

    def __init__(
        self, method: str, model: nn.Module, weights: Sequence[CoveredWeight], mix: MixFunction
    ) -> None:
        self.method, self.mix, self.weights = method, mix, weights
        self.model, self.root = model, unwrap_model(model)
        self.parameters = [weight.parameter for weight in weights]
        self.traits = [_get_traits(parameter) for parameter in self.parameters]
        self.held: bool | None = False
        self.trained: list[Tensor] | None = None
        self.was_read = False
        self.paused_by: nn.Module | None = None
        self.handles: list[RemovableHandle] = []
        self.hold = torch.compiler.disable(self._hold)

    def register(self) -> None:
        """Register the hooks of the model."""
        for root in {id(model): model for model in (self.model, self.root)}.values():
            self.handles += [
                root.register_forward_pre_hook(self._make_hook(self._enter_model)),
                root.register_forward_hook(self._make_hook(self._leave_model), always_call=True),
            ]
        readers: dict[int, tuple[nn.Module, dict[str, int]]] = {}
        for number, weight in enumerate(self.weights):
            for module, attribute in weight.readers:
                readers.setdefault(id(module), (module, {}))[1][attribute] = number
        for module, numbers in readers.values():
            self.handles += [
                module.register_forward_pre_hook(self._make_hook(self._enter_layer)),
                module.register_state_dict_post_hook(self._make_hook(_StateDictHook(self, numbers))),
                module.register_load_state_dict_pre_hook(self._make_hook(self._load)),
            ]
        for module in self.root.modules():
            if isinstance(module, nn.MultiheadAttention):  # it reads out_proj.weight without calling out_proj
                self.handles.append(module.register_forward_pre_hook(self._make_hook(self._enter_layer)))

    def remove(self) -> None:
        """Put the trained weights back and remove the hooks."""
        self.restore()
        for handle in self.handles:
            handle.remove()

    def restore(self) -> None:
        """Put the trained weights back into the parameters."""
        if self.held is not False:
            self.hold(False)

    def end_step(self) -> None:
        """Start a new step, whose forward passes have yet to read the mixed weights."""
        self.was_read, self.paused_by = False, None

    def require_read(self) -> None:
        """Raise ValueError if there are gradients, but no forward pass of the step read mixed weights."""
        if self.was_read or all(parameter.grad is None for parameter in self.parameters):
            return
        if self.mix([parameter.data for parameter in self.parameters]) is None:
            return
        if not all(module.training for weight in self.weights for module, _ in weight.readers):
            raise ValueError(
                f"{self.method} needs the model in training mode, but it is in evaluation mode; "
                f"call model.train()"
            )
        raise ValueError(
            f"{self.method}: the gradients are not those of the mixed weights, which no forward pass of this "
            f"step read; call model.train() before it, and attach before the first pass of a compiled model"
        )

    def _make_hook(self, act: Callable[..., Any]) -> ModuleHook:
        return ModuleHook(act, self._correct_copies, self._refuse_pickle)

    def _enter_model(self, module: nn.Module, args: Any) -> None:
        if self.paused_by is module:  # its last pass was interrupted
            self.paused_by = None
        if module.training is self.held:
            return
        if self.held and not torch.is_grad_enabled():  # an evaluation before the backward pass, perhaps
            self.paused_by = module
            self.hold(False, announce=False)
        else:
            self._change_mode(module)

    def _leave_model(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.paused_by is module:
            self.paused_by = None
            self.hold(True, announce=False)

    def _enter_layer(self, module: nn.Module, args: Any) -> None:
        if module.training is not self.held:
            self._change_mode(module)

    def _change_mode(self, module: nn.Module) -> None:
        if getattr(module, "_is_replica", False):
            raise ValueError(
                f"{self.method}: nn.DataParallel copied the weights before they were mixed; attach to the "
                f"nn.DataParallel itself, start the script by torchrun, or let CUDA_VISIBLE_DEVICES name one "
                f"GPU"
            )
        if torch.is_grad_enabled() and module.training is not self.root.training:
            raise ValueError(
                f"{self.method} needs the whole model in training mode, but a part is in evaluation mode; "
                f"call model.train()"
            )
        self.hold(module.training)

    def _hold(self, mixed: bool, announce: bool = True) -> None:
        """Let the parameters hold the mixed weights, or the trained ones.

        announce: tell autograd, so that a backward pass of an earlier forward pass is refused.
        """
        self.held = None
        if self.trained is not None:
            assign_weights(self.parameters, self.trained)
            self.trained = None
        if mixed:
            self._require_same_traits()
            with torch.inference_mode(False), torch.no_grad():
                trained = [parameter.data for parameter in self.parameters]
                values = self.mix(trained)
            if values is not None:
                self.trained = trained
                assign_weights(self.parameters, values)
            self.was_read = True
        if announce:
            torch.autograd.graph.increment_version(self.parameters)
        torch.clear_autocast_cache()
        self.held = mixed

    def _require_same_traits(self) -> None:
        for parameter, traits in zip(self.parameters, self.traits, strict=True):
            if _get_traits(parameter) != traits:
                raise ValueError(
                    f"{self.method}: the model was moved, cast or split after attach (a weight was {traits}, "
                    f"and is {_get_traits(parameter)}); attach once the model is where it trains"
                )

    def _load(self, module: nn.Module, *args: Any) -> None:
        self.restore()

    def _correct_copies(self, memo: dict[int, Any]) -> None:
        """Give deep copies of the parameters the trained weights."""
        for parameter, value in zip(self.parameters, self.trained or (), strict=False):
            if (copied := memo.get(id(parameter))) is not None:
                copied.data = value.clone()

    def _refuse_pickle(self) -> None:
        if self.trained is not None:
            raise ValueError(
                f"{self.method}: a model cannot be pickled between a forward pass and the optimizer's step; "
                f"save model.state_dict(), or save after optimizer.step()"
            )


class _StateDictHook:
    """Shows the trained weights in the `state_dict` of a module. numbers: of its weights, by attribute."""

    def __init__(self, mixed: MixedWeights, numbers: dict[str, int]) -> None:
        self.mixed, self.numbers = mixed, numbers

    def __call__(self, module: nn.Module, state_dict: dict[str, Any], prefix: str, metadata: Any) -> None:
        if self.mixed.trained is not None:
            for attribute, number in self.numbers.items():
                state_dict[prefix + attribute] = self.mixed.trained[number]


def _get_traits(parameter: nn.Parameter) -> tuple[torch.Size, torch.dtype, torch.device]:
    return parameter.shape, parameter.dtype, parameter.device
