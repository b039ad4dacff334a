"""Scores of a model on evaluation sets, during a run and at its end; the best of them, with patience."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dps import distributed
from dps.errors import InputError
from dps.lazy import torch
from dps.methods import Attachment
from dps.models import PretrainedEncoder
from dps.tasks.metrics import (
    TUNED_THRESHOLD,
    check_threshold,
    choose_threshold,
    compute_predictions,
    compute_probability_scores,
    compute_scores,
    compute_top_share,
)
from dps.tasks.registry import get_task
from dps.tasks.task import Task
from dps.tasks.transfer import compute_transfer_scores, get_transfer_target
from dps.training.checkpoint import load_weights
from dps.training.collapse import measure_collapse
from dps.training.config import FineTuneConfig
from dps.training.data import PaddingCollator, TaskData, batch_by_length
from dps.training.result import ControlSignal, Outcome
from dps.training.tokens import EncodedExamples

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

EVALUATION_BATCH_FACTOR = 4  # size of an evaluation batch in training batches


class RunEnded(Exception):
    """End of a run in the middle of an epoch or an evaluation."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Evaluator:
    """Evaluator of a run's model, on this rank or on all ranks together.

    control: called at each batch, see `dps.training.run.finetune_model`.
    warn: called with the reason if the probe fails.
    task: with the threshold that was chosen last.
    top_share: of the latest examples scored, see `RunResult`; None before.
    logits, labels: (n, classes) and (n,) by evaluation set, from `score_at_end`.
    """

    def __init__(
        self,
        config: FineTuneConfig,
        base: PretrainedEncoder,
        model: PreTrainedModel,
        data: TaskData,
        autocast: AbstractContextManager[Any],
        control: Callable[[], ControlSignal],
        warn: Callable[[str], None],
    ) -> None:
        self.config, self.base, self.model, self.data = config, base, model, data
        check_threshold(config.threshold, data.task)
        is_tuned = config.threshold == TUNED_THRESHOLD
        self.task = data.task if is_tuned else data.task.with_threshold(config.threshold)  # type: ignore[arg-type]
        self.autocast, self.control, self.warn = autocast, control, warn
        self.batch_size = EVALUATION_BATCH_FACTOR * min(
            config.micro_batch or config.batch_size, config.batch_size
        )
        self.top_share: float | None = None
        self.logits: dict[str, NDArray[np.float32]] = {}
        self.labels: dict[str, NDArray[Any]] = {}
        self._collate = PaddingCollator(base.tokenizer)
        self._latest: NDArray[np.float32]

    def score(self, data: EncodedExamples) -> dict[str, float]:
        """Return the task's metrics on these examples. Raises RunEnded as `predict` does."""
        self._latest = self.predict(data)
        if self.config.threshold == TUNED_THRESHOLD:
            self.task = self.task.with_threshold(choose_threshold(self.task, data.labels, self._latest))
        predictions = compute_predictions(self.task, self._latest)
        self.top_share = compute_top_share(self.task, data.labels, predictions)
        return compute_scores(self.task, data.labels, self._latest)

    def choose_alpha(self, attachment: Attachment, data: EncodedExamples) -> None:
        """Let the attachment have the alpha that it offers with the best score on these examples, of equal
        ones the nearest to the middle. Raises RunEnded as `predict` does."""
        sign, ranked = 1 if self.task.direction == "max" else -1, list[tuple[float, float, float]]()
        for alpha in attachment.offered_alphas:
            attachment.alpha = alpha
            with attachment.evaluated():
                score = sign * self.score(data)[self.task.metric]
            ranked.append((-math.inf if math.isnan(score) else score, -abs(alpha - 0.5), alpha))
        if ranked:
            attachment.alpha = max(ranked)[-1]

    def predict(self, data: EncodedExamples) -> NDArray[np.float32]:
        """Return logits (n, classes) in the order of the examples, the same on every rank.

        Raises RunEnded if `control` says stop, or if a logit is not finite.
        """
        self.model.eval()
        rank_parts: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        rank, ranks = distributed.get_rank(), distributed.get_world_size()
        batches = list(batch_by_length(data, self.batch_size))
        with torch.no_grad(), self.autocast:  # fully_shard keeps tensors, which inference mode would spoil
            for first in range(0, len(batches), ranks):  # all ranks run each pass: they share the weights
                indices = batches[min(first + rank, len(batches) - 1)]
                if self.control() == "stop" and ranks == 1:
                    raise RunEnded(Outcome.STOPPED)
                rank_parts.append((indices, self._predict_batch(data, indices)))
        self.model.train()
        parts = [part for rank in distributed.gather_values(rank_parts) for part in rank]
        values = np.concatenate([values for _, values in parts])
        if not np.isfinite(values).all():
            raise RunEnded(Outcome.DIVERGED)
        logits = np.empty((len(data), values.shape[1]), np.float32)
        logits[np.concatenate([indices for indices, _ in parts])] = values
        return logits

    def _predict_batch(self, data: EncodedExamples, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        device = distributed.get_device()
        columns = self._collate(data, indices).items()
        batch = {
            name: distributed.move_to_device(values, device) for name, values in columns if name != "labels"
        }
        logits: NDArray[np.float32] = self.model(**batch).logits.float().cpu().numpy()
        return logits

    def score_at_end(self) -> dict[str, dict[str, float]]:
        """Return the final metrics by set: dev sets (with select_on="dev", those of the probabilities too),
        transfer sets, the probe.

        Raises RunEnded as `predict` does.
        """
        final: dict[str, dict[str, float]] = {}
        main = self.task.dev_splits[0]
        for split in self.task.dev_splits if self.config.select_on == "dev" else ():
            data = self.data.get_split(split)
            self.logits[split] = self._latest if split == main else self.predict(data)
            self.labels[split] = data.labels
            scored = self.task, data.labels, self.logits[split]
            final[split] = compute_scores(*scored) | compute_probability_scores(*scored)
        for name in self.config.transfer:
            target = get_transfer_target(name)
            data = self.data.for_task(target.task).get_split(target.split)
            self.logits[name], self.labels[name] = self.predict(data), data.labels
            final[name] = compute_transfer_scores(self.data.task, target, data.labels, self.logits[name])
        if self.config.probe is not None:
            figures = distributed.broadcast_value(self._probe(get_task(self.config.probe)))
            final |= {"probe": figures} if figures else {}
        return final

    def _probe(self, task: Task) -> dict[str, float]:
        if distributed.get_rank() != 0:
            return {}
        try:
            return measure_collapse(
                self.base, self.model, self.data, self.data.for_task(task), self.batch_size
            )
        except InputError as error:  # the run is valid without it
            self.warn(f"the probe failed: {error}")
            return {}


class Patience:
    """The best evaluation of a run so far, with the weights that were scored.

    limit: evaluations without a better one after which the run ends.
    step: of the best evaluation, the earliest of equals; 0 before the first.
    alpha, adapter: of the attachment at that step, see `Attachment`.
    """

    def __init__(self, limit: int, evaluator: Evaluator, attachment: Attachment) -> None:
        self.limit, self.evaluator, self.attachment = limit, evaluator, attachment
        self.step = self.waited = 0
        self.scores: dict[str, float] = {}
        self.top_share: float | None = None
        self.threshold = evaluator.task.threshold
        self.weights: dict[str, Tensor] = {}
        self.alpha = attachment.alpha
        self.adapter: dict[str, Tensor] = {}

    @property
    def is_over(self) -> bool:
        """Whether the run ends here."""
        return self.waited >= self.limit

    def score(self, step: int, examples: EncodedExamples) -> dict[str, float]:
        """Score the model after a step; return the task's metrics of the best one so far, which the evaluator
        then knows in place of the latest. Raises RunEnded as the evaluator does."""
        evaluator, scores = self.evaluator, self.evaluator.score(examples)
        if self._is_best(scores):
            self.step, self.waited, self.scores = step, 0, scores
            self.top_share, self.threshold = evaluator.top_share, evaluator.task.threshold
            state = evaluator.model.state_dict()
            self.weights = {name: _copy_weight(value.detach()) for name, value in state.items()}
            self.alpha, self.adapter = self.attachment.alpha, self.attachment.copy_adapter()
        else:
            self.waited += 1
            self._tell_evaluator()
        return self.scores

    def _is_best(self, scores: dict[str, float]) -> bool:
        task = self.evaluator.task
        new, old = scores[task.metric], self.scores.get(task.metric, math.nan)
        return not self.step or (new > old if task.direction == "max" else new < old) or math.isnan(old)

    def _tell_evaluator(self) -> None:
        self.evaluator.top_share = self.top_share
        self.evaluator.task = self.evaluator.task.with_threshold(self.threshold)

    def restore_weights(self) -> None:
        """Let the model have the weights of the best evaluation, if there was one."""
        if self.step:
            load_weights(self.evaluator.model, self.weights)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        names = "step", "waited", "scores", "top_share", "threshold", "weights", "alpha", "adapter"
        return {name: getattr(self, name) for name in names}

    def load(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        vars(self).update(state)
        if self.step:
            self._tell_evaluator()


def _copy_weight(weight: Tensor) -> Tensor:
    """Return a copy in CPU memory; of a part of a split weight, where it is."""
    return weight.clone() if distributed.is_split(weight) else weight.to("cpu", copy=True)
