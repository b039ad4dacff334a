"""Heads and dropout of classifiers: how a head begins, and what a configuration says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dps.lazy import nn

if TYPE_CHECKING:
    from dps.tasks.task import Task


def set_dropout(model: nn.Module, dropout: float) -> None:
    """Set every dropout probability of `model`, of its modules and attention functions, in [0, 1)."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
        for attribute in ("dropout", "attention_dropout", "activation_dropout", "drop_prob", "dropout_prob"):
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, dropout)


def make_head_config(task: Task) -> dict[str, Any]:
    """Return the fields of config.json that describe the head of a task."""
    if task.is_regression:
        return {"num_labels": 1, "problem_type": "regression"}
    names = dict(enumerate(task.labels))
    return {
        "num_labels": len(names),
        "id2label": names,
        "label2id": {label: index for index, label in names.items()},
        "problem_type": f"{'multi' if task.multi_label else 'single'}_label_classification",
    }


def initialise_module(model: nn.Module, module: nn.Module) -> None:
    """Initialise the parameters of `module`, not those of its children, by the rule of `model`."""
    if not hasattr(model, "_init_weights"):
        module.reset_parameters()  # type: ignore[operator]
        return
    for parameter in module.parameters(recurse=False):
        parameter._is_hf_initialized = False  # type: ignore[attr-defined]
    module._is_hf_initialized = False  # type: ignore[assignment]
    model._init_weights(module)  # type: ignore[operator]
