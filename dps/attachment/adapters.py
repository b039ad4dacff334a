"""Adapters of the PEFT library: small layers beside frozen ones, merged into plain weights in the end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dps.attachment.base import Attachment
from dps.attachment.draws import SharedSeed
from dps.attachment.groups import PER_PARAMETER_KEYS
from dps.attachment.method import Method
from dps.attachment.weights import exchange_weights
from dps.coverage import CoveredWeight, get_model_family, get_transformers_classes, unwrap_model
from dps.depth import require_known_head
from dps.distributed import join_parts
from dps.lazy import nn, safetensors_torch, torch, without_gradients

if TYPE_CHECKING:
    from torch import Tensor


def write_adapter(config: Any, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write an adapter into a folder, for `PeftModel.from_pretrained`. Raises OSError.

    config: of PEFT. tensors: see `Attachment.copy_adapter`.
    """
    config.save_pretrained(str(folder))
    safetensors_torch.save_file(dict(tensors), folder / "adapter_model.safetensors")


class AdapterMethod(Method):
    """Method that trains adapters and the head, and leaves the pre-trained weights as they are.

    While it is attached, the model's `state_dict` holds the adapters. Inside `evaluated()`, and after
    `finish` or `detach`, it is a plain model, whose weights have the adapters in them.
    """

    extra: ClassVar[str] = "peft"
    adds_layers: ClassVar[bool] = True

    @abstractmethod
    def make_adapter_config(self, peft: Any, family: str, layers: Sequence[str]) -> Any:
        """Return PEFT's configuration for those of the linear `layers` that get an adapter.

        Raises ValueError for a family of models that the method does not know.
        """


@dataclass(frozen=True)
class _Adapted:
    """Layer with an adapter, at `getattr(parent, attribute)`, by its name in the model."""

    name: str
    parent: nn.Module
    attribute: str
    layer: Any

    @property
    def base(self) -> nn.Module:
        """The pre-trained layer."""
        base: nn.Module = self.layer.get_base_layer()
        return base

    @property
    def own_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters of the adapter, with their names in the layer."""
        return [(n, p) for n, p in self.layer.named_parameters() if not n.startswith("base_layer.")]


class AdapterAttachment(Attachment, method_class=AdapterMethod):
    """Attachment of a method that trains adapters: the optimizer trains them in place of what they adapt."""

    method: AdapterMethod

    def set_up(self) -> None:
        self.method.require_packages()
        if self.model is not unwrap_model(self.model):
            raise ValueError(
                f"{self.method.name} puts layers into the model; attach it before a framework wraps the model"
            )

    def start(self) -> None:
        self.head = head = require_known_head(self.model, self.method.name)
        weights = {w.name.rpartition(".")[0]: w for w in self.find_trained_weights(skipped=head)}
        for weight in weights.values():
            self._require_linear(weight)
        peft = import_module("peft")
        config = self.method.make_adapter_config(peft, get_model_family(self.model), list(weights))
        config.fan_in_fan_out = any(_is_transposed(weight.readers[0][0]) for weight in weights.values())
        trained = dict(self.trained_parameters())
        self.frozen = [p for name, p in trained.items() if name not in head and p.requires_grad]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SharedSeed().value)
            peft.inject_adapter_in_model(config, self.model)
        config.task_type, config.inference_mode = "SEQ_CLS", True
        config.modules_to_save = sorted({name.partition(".")[0] for name in head})
        self.adapter_config = config
        for name in head & trained.keys():
            trained[name].requires_grad_(True)
        self.adapted = list(self._find_adapted(weights))
        self._exchange_trained({id(trained[name]) for name in head & trained.keys()})

    def _require_linear(self, weight: CoveredWeight) -> None:
        module = weight.readers[0][0]
        is_linear = isinstance(module, nn.Linear) or _is_transposed(module)
        if not is_linear or len(weight.readers) > 1:
            what = "shares" if is_linear else "multiplies by"
            raise ValueError(
                f"{self.method.name} needs linear layers with weights of their own, but "
                f"{get_model_family(self.model)!r} {what} {weight.name}; use another method"
            )

    def _find_adapted(self, names: dict[str, CoveredWeight]) -> Iterator[_Adapted]:
        for name in names:
            parent, _, attribute = name.rpartition(".")
            layer = self.model.get_submodule(name)
            if hasattr(layer, "get_base_layer"):
                yield _Adapted(name, self.model.get_submodule(parent), attribute, layer)

    def _exchange_trained(self, head: set[int]) -> None:
        """Let the optimizer train the head, and adapters in place of the rest; vectors as biases."""
        successors: dict[int, list[nn.Parameter]] = {}
        for adapted in self.adapted:
            weight, bias = adapted.base.weight, getattr(adapted.base, "bias", None)
            for _, parameter in adapted.own_parameters:
                is_vector = parameter.numel() == max(parameter.shape)
                place = bias if is_vector and bias is not None else weight
                successors.setdefault(id(place), []).append(parameter)
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        self.lists_before = [
            {key: group[key] for key in PER_PARAMETER_KEYS if key in group}
            for group in self.optimizer.param_groups
        ]
        for group in self.optimizer.param_groups:
            group["params"] = [
                new
                for old in group["params"]
                for new in ([old] if id(old) in head else successors.get(id(old), []))
            ]
            if "param_names" in group:
                group["param_names"] = [names[id(parameter)] for parameter in group["params"]]

    def copy_adapter(self) -> dict[str, Tensor]:
        stored = {f"{a.name}.{_name_stored(name)}": p for a in self.adapted for name, p in a.own_parameters}
        stored |= {name: p for name, p in self.model.named_parameters() if name in self.head}
        return {
            f"base_model.model.{name}": join_parts(p.detach()).to("cpu", copy=True)
            for name, p in stored.items()
        }

    def follow_parameters(self, successors: Mapping[int, nn.Parameter]) -> None:
        super().follow_parameters(successors)
        self.frozen = [successors.get(id(p), p) for p in self.frozen]
        for lists in self.lists_before:
            lists["params"] = [successors.get(id(p), p) for p in lists["params"]]

    @without_gradients
    def take_evaluated(self) -> Callable[[], None]:
        adapted = [a for a in self.adapted if getattr(a.parent, a.attribute) is a.layer]
        parameters = [parameter for a in adapted for parameter in a.base.parameters()]
        put_back = exchange_weights(parameters, [parameter.data.clone() for parameter in parameters])
        for each in adapted:
            each.layer.merge()
            setattr(each.parent, each.attribute, each.base)

        def unmerge() -> None:
            for each in adapted:
                each.layer.merged_adapters.clear()
                setattr(each.parent, each.attribute, each.layer)
            put_back()

        return unmerge

    def detach(self) -> None:
        """Take the method off: merge the adapters, and let the optimizer train the pre-trained weights."""
        super().detach()
        self.take_evaluated()
        for group, lists in zip(self.optimizer.param_groups, self.lists_before, strict=False):
            group.update(lists)
        for parameter in (p for adapted in self.adapted for _, p in adapted.own_parameters):
            self.optimizer.state.pop(parameter, None)
        if hasattr(self.model, "peft_config"):
            del self.model.peft_config
        for parameter in self.frozen:
            parameter.requires_grad_(True)


def _name_stored(name: str) -> str:
    """Return the name that PEFT stores a parameter of an adapter by."""
    return name.removesuffix(".weight" if "magnitude" in name else "").replace(".default", "")


def _is_transposed(module: nn.Module) -> bool:
    """Return whether a linear layer stores its weight as (in, out)."""
    return "Conv1D" in get_transformers_classes(module)
