"""Configuration of one fine-tuning run, and the result that its process gets back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dps.attachment.adapters import write_adapter
from dps.attachment.losses import LOSSES
from dps.errors import InputError
from dps.methods import DPSDense, Method
from dps.models.manifest import write_manifest
from dps.tasks.definition import TASK_FILE_NAME, write_task_file
from dps.tasks.metrics import TUNED_THRESHOLD
from dps.tasks.splits import HOLDOUT_SHARE
from dps.tasks.task import Task
from dps.training.optim import PRECISIONS
from dps.training.result import RunResult

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


ADAPTER_FOLDER = "adapter"  # in that of the model
TRAINING_PARAMETERS = (  # what a search may vary
    *("epochs", "batch_size", "weight_decay", "warmup_ratio", "max_length", "label_smoothing"),
)
STEP_PARAMETERS = {"epochs", "batch_size"}  # of these, those that the number of steps depends on


def check_shard(precision: str, probe: str | None) -> None:
    """Raise InputError for what `shard` cannot go with."""
    if precision == "fp16":
        raise InputError("shard, precision: split weights need fp32 or bf16; give one of them")
    if probe is not None:
        raise InputError("shard, probe: a probe needs the whole model on one rank; leave one out")


@dataclass(frozen=True)
class FineTuneConfig:
    """Everything that one run depends on. Raises InputError for a value outside its range.

    task: name of a task, YAML file of a user-defined one (`dps.tasks.definition`), or a Task.
    method: see `dps.methods`.
    data: "hub", "builtin" or a folder; None for the data that the task names, else "builtin".
    model: "builtin", a folder or a name on the hub.
    learning_rate: peak after the warm-up, > 0.
    epochs: passes over the training set, > 0.
    max_steps: optimizer steps, > 0; replaces `epochs`.
    batch_size: examples of a step over all ranks.
    micro_batch: examples of a rank in the model at once; None for all of a step. It saves memory, and changes
        a step only by rounding and by draws of the model such as dropout.
    max_length: tokens that an example is cut at; None for 128, or as many as the longest text needs, a
        multiple of 8, at most 512 and what the model can read.
    train_size: size of a stratified subset of the training examples; None for all.
    shots: number of training examples of each class, drawn by `seed`, in place of `train_size`.
    select_on: examples that `scores` are measured on: "holdout", a slice of the training set that is not
        trained on, or "dev".
    holdout_share: share of the training set in that slice, in (0, 1); `seed` chooses it.
    evaluations: number of evaluations, the last at the end.
    patience: evaluations on the held-out slice without a better score, below `evaluations`, after which the
        run ends; it keeps the weights of its best one. With select_on="dev" the slice is held out too, and
        dev is scored once, at the end. None: the run goes to its end and keeps its last weights.
    warmup_ratio: share of the steps in which the learning rate rises, in [0, 1].
    weight_decay: of AdamW, >= 0; none on biases and normalisation.
    max_grad_norm: norm that the gradient is clipped to; None for no clipping.
    loss: "plain", the model's own; "balanced", by the classes of the examples that are trained on; or
        "focal"; see `dps.attachment.losses.TaskLoss`.
    threshold: probability above which the second of two classes, or a label, is said: a number in (0, 1), or
        "tuned", what is best for the primary metric on the selection slice, which must not be dev; None for
        that of the task, which is 0.5 unless its file says otherwise.
    label_smoothing: share of the labels that is spread over all classes, in [0, 1).
    precision: "auto" (bf16 or fp16 on a GPU, fp32 on a CPU), "fp32", "bf16" or "fp16".
    gradient_checkpointing: whether the backward pass computes again what a block kept of the forward pass: a
        third more time for much less memory; the result is the same.
    shard: whether the ranks share weights, gradients and optimizer state (FSDP2) in place of a copy each
        (DDP). The result is the same up to rounding; rank 0 alone has the model in the end. Needs several
        ranks, a method that can be sharded, fp32 or bf16, and no probe.
    seed: of the head, dropout and the method's draws, >= 0.
    data_seed: of the order of the data; None for `seed`.
    transfer: evaluation sets of other tasks (`dps.tasks.transfer`), scored at the end.
    probe: task of a linear probe that is measured at the end, with the drift of the features
        (`dps.training.collapse`).
    """

    task: str | Task = "cola"
    method: Method = field(default_factory=DPSDense)
    data: str | None = None
    model: str = "builtin"
    learning_rate: float = 1e-4
    epochs: float = 3
    max_steps: int | None = None
    batch_size: int = 16
    micro_batch: int | None = None
    max_length: int | None = None
    train_size: int | None = None
    shots: int | None = None
    select_on: Literal["holdout", "dev"] = "dev"
    holdout_share: float = HOLDOUT_SHARE
    evaluations: int = 6
    patience: int | None = None
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float | None = 1.0
    loss: Literal["plain", "balanced", "focal"] = "plain"
    threshold: float | Literal["tuned"] | None = None
    label_smoothing: float = 0.0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    gradient_checkpointing: bool = False
    shard: bool = False
    seed: int = 0
    data_seed: int | None = None
    transfer: tuple[str, ...] = ()
    probe: str | None = None

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate must be above 0, but got {self.learning_rate}")
        for name in ("epochs", "batch_size", "evaluations"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, but got {getattr(self, name)}")
        for name in ("micro_batch", "max_steps", "max_length", "train_size", "shots", "max_grad_norm"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0 or None, but got {getattr(self, name)}")
        if self.patience is not None and not 0 < self.patience < self.evaluations:
            raise InputError(
                f"patience must be at least 1 and below evaluations={self.evaluations}, or None, "
                f"but got {self.patience}"
            )
        if not 0 < self.holdout_share < 1:
            raise InputError(f"holdout_share must be in (0, 1), but got {self.holdout_share}")
        if not 0 <= self.warmup_ratio <= 1:
            raise InputError(f"warmup_ratio must be in [0, 1], but got {self.warmup_ratio}")
        if not 0 <= self.label_smoothing < 1:
            raise InputError(f"label_smoothing must be in [0, 1), but got {self.label_smoothing}")
        if not self.weight_decay >= 0:
            raise InputError(f"weight_decay must be at least 0, but got {self.weight_decay}")
        if self.train_size is not None and self.shots is not None:
            raise InputError("train_size, shots: each chooses the training examples; leave one of them out")
        if self.threshold == TUNED_THRESHOLD and self.select_on == "dev":
            raise InputError(
                "threshold, select_on: a threshold that is tuned on dev says too much of dev; leave one out"
            )
        if self.shard:
            check_shard(self.precision, self.probe)
            self.method.require_shardable()
        if self.seed < 0:
            raise InputError(f"seed must be at least 0, but got {self.seed}")
        for name, choices in (
            ("select_on", ("holdout", "dev")),
            ("precision", PRECISIONS),
            ("loss", LOSSES),
        ):
            if getattr(self, name) not in choices:
                raise InputError(
                    f"{name} must be one of {', '.join(choices)}, but got {getattr(self, name)!r}"
                )

    @property
    def holds_out(self) -> bool:
        """Whether a slice of the training set is not trained on."""
        return self.select_on == "holdout" or self.patience is not None

    def steps(self, examples: int) -> int:
        """Return the optimizer steps of the whole run over `examples` training examples."""
        per_epoch = -(-examples // self.batch_size)
        return self.max_steps or max(1, round(self.epochs * per_epoch))


@dataclass(kw_only=True)
class FineTuneResult(RunResult):
    """Result of a run in this process, with the model and its predictions.

    steps: optimizer steps that were done; the last may lie behind the last evaluation.
    logits: (n, classes) by evaluation set, of a completed run, in the order of its examples.
    labels: (n,) or (n, labels) by evaluation set.
    model: of a run with `shard` on rank 0 alone, and only once it is completed.
    task: task that the model was trained on.
    max_length: tokens that examples were cut at.
    adapter: of a method that trains one, before it was merged into the model, see `Attachment.copy_adapter`.
    adapter_config: of PEFT.
    """

    steps: int = 0
    logits: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    labels: dict[str, NDArray[Any]] = field(default_factory=dict)
    model: PreTrainedModel | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    task: Task | None = None
    max_length: int | None = None
    adapter: dict[str, Tensor] = field(default_factory=dict)
    adapter_config: Any = None

    @property
    def last(self) -> float | None:
        """The last score, another name of `score`."""
        return self.score

    @property
    def best(self) -> float | None:
        """The highest score of the run; not an unbiased one."""
        return max((score for _, score in self.scores), default=None)

    def save(self, folder: Path | str) -> None:
        """Write model and tokenizer for `from_pretrained`, the task for `dps.predict`, checksums of all, and
        the adapter for `PeftModel.from_pretrained`, in a folder of its own.

        Raises OSError.
        """
        assert self.model is not None
        assert self.tokenizer is not None
        if self.max_length is not None:
            self.tokenizer.model_max_length = self.max_length
        with write_manifest(Path(folder)):
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
            if self.task is not None:
                write_task_file(self.task, Path(folder) / TASK_FILE_NAME)
            if self.adapter:
                write_adapter(self.adapter_config, self.adapter, Path(folder) / ADAPTER_FOLDER)


@dataclass(frozen=True)
class Checkpointing:
    """Settings of a run's checkpoints.

    folder: where they are written.
    every_s: seconds between two of them.
    on_written: called with the folder of each new one.
    """

    folder: Path
    every_s: float = 60.0
    on_written: Callable[[Path], None] | None = None
