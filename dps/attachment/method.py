"""Base class of the methods: a frozen dataclass of hyper-parameters that attaches to model and optimizer."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, cast

from dps.attachment.cost import MethodCost
from dps.errors import InputError
from dps.lazy import nn
from dps.ranges import Domain

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

DEFAULT_DROPOUT = 0.1
Batch: TypeAlias = "dict[str, Tensor]"


@dataclass(frozen=True)
class Method:
    """Way of fine-tuning: what happens around each optimizer step.

    name: as on the command line.
    needs_pretrained: whether it keeps a copy of the pre-trained weights.
    selects_weights: whether it masks weights in stages; a run in which no mask acted is then a mistake.
    counts_steps: whether masks or draws depend on the number of the step, so that ranks must count alike.
    plans_length: whether it divides the steps of the whole run, so that a resumed one must have as many.
    takes_split_weights: whether it works on weights that are split over devices.
    takes_shards: whether it works on those that fully_shard splits, if it must not take any others.
    adds_layers: whether it puts layers into the model, whose weights may be split only then.
    goes_by_depth: whether it treats layers by their depth, so that they need weights of their own.
    needs_classes: whether it has no meaning for a regression.
    smooths_labels: whether its targets are not the labels alone.
    chooses_alpha: whether it has a hyper-parameter alpha that a run may choose, see `Attachment`.
    clips_first: whether gradients are clipped before the method changes them, as its released code does.
    learning_rate_factor: learning rates that are searched, by those of full fine-tuning.
    extra: extra of this package, and name of the package, that it needs; empty for none.
    attachment_class: class that holds its state and acts around each step.
    """

    name: ClassVar[str]
    needs_pretrained: ClassVar[bool] = False
    selects_weights: ClassVar[bool] = False
    counts_steps: ClassVar[bool] = False
    plans_length: ClassVar[bool] = False
    takes_split_weights: ClassVar[bool] = False
    takes_shards: ClassVar[bool] = False
    adds_layers: ClassVar[bool] = False
    goes_by_depth: ClassVar[bool] = False
    needs_classes: ClassVar[bool] = False
    smooths_labels: ClassVar[bool] = False
    chooses_alpha: ClassVar[bool] = False
    clips_first: ClassVar[bool] = False
    learning_rate_factor: ClassVar[float] = 1.0
    extra: ClassVar[str] = ""
    attachment_class: ClassVar[type[Any]]

    def __post_init__(self) -> None:
        for field in fields(self):
            value, rule = getattr(self, field.name), field.metadata.get("rule")
            if rule is not None and not rule.holds(value):
                raise ValueError(f"{field.name} must be {rule.words}, but got {value!r}")

    @classmethod
    def search_space(cls, max_steps: int, layers: int) -> dict[str, Domain]:
        """Return the published search space, without the learning rate.

        Values that a run of `max_steps` or a model of `layers` transformer blocks cannot take are left out.
        """
        searched = {field.name: field.metadata.get("searched") for field in fields(cls)}
        return {name: domain for name, domain in searched.items() if domain is not None}

    @classmethod
    def require_packages(cls) -> None:
        """Raise InputError if a package that the method needs is not installed."""
        if cls.extra and find_spec(cls.extra) is None:
            raise InputError(
                f"method: {cls.name} needs the package {cls.extra}; install it with "
                f"pip install 'dps-tune[{cls.extra}]'"
            )

    @classmethod
    def require_shardable(cls) -> None:
        """Raise InputError if the method cannot train weights that `shard` splits."""
        if not (cls.takes_split_weights or cls.takes_shards):
            raise InputError(
                f"shard: {cls.name} needs whole weights; leave it out, or take a method that can be sharded, "
                f"such as vanilla, dps-dense or lora"
            )

    @property
    def has_own_loss(self) -> bool:
        """Whether gradients of the model's own loss are not those of the method."""
        return False

    @property
    def cost(self) -> MethodCost:
        """Cost of the method beyond vanilla fine-tuning."""
        return MethodCost()

    def fit_to_length(self, max_steps: int) -> Self:
        """Return the method as a run of so many steps can take it; by default the method itself."""
        return self

    def dropout(self, max_steps: int) -> float:
        """Return the dropout probability that the method trains with, in [0, 1)."""
        return DEFAULT_DROPOUT

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the training loss of one batch, a scalar; by default the model's own."""
        return cast("Tensor", model(**batch).loss)

    def attach(
        self, model: nn.Module, optimizer: Optimizer, max_steps: int, max_grad_norm: float | None = None
    ) -> Optimizer:
        """Attach the method to `model` and `optimizer`; return `optimizer` itself.

        model: a torch.nn.Module, plain or in DistributedDataParallel; its current weights count as
            pre-trained.
        max_steps: optimizer steps of the whole run.
        max_grad_norm: norm that the (masked) gradient is clipped to; None for no clipping.

        The method's state becomes part of `optimizer.state_dict()`. An earlier attachment of the same method
        to these weights is detached first. Raises ValueError if a hyper-parameter does not fit `max_steps` or
        the model, the model has no covered weight, or another method is attached already.
        """
        self.attachment_class(self, model, optimizer, max_steps, max_grad_norm)
        return optimizer
