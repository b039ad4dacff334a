"""One run: fine-tune one model with one method. Knows nothing of Ray, MLflow or Optuna."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dps.coverage import describe_coverage, find_covered_weights
from dps.distributed import (
    broadcast_value,
    gather_values,
    get_device,
    get_rank,
    get_world_size,
    move_to_device,
    wrap_model,
)
from dps.methods import attachment_of
from dps.methods.draws import derive_step_seed
from dps.models import PretrainedEncoder
from dps.training import checkpoint, optim
from dps.training.checkpoint import load_checkpoint
from dps.training.config import Checkpointing, FineTuneConfig, FineTuneResult
from dps.training.data import TaskData, TrainingBatches, split_holdout
from dps.training.evaluation import Evaluator, RunEnded
from dps.training.inputs import load_run_inputs
from dps.training.memory import get_peak_memory, reset_peak_memory
from dps.training.optim import compute_learning_rate_factor, make_adamw, make_autocast_and_scaler
from dps.training.result import ControlSignal, Evaluation, Outcome
from dps.training.tokens import EncodedExamples

CHECKPOINT_WARNING = "no checkpoint could be written"
GPU_LOSS_CHECK_STEPS = 10  # steps between looks at the loss, each of which waits for the GPU


def finetune(
    config: FineTuneConfig,
    report: Callable[[Evaluation], None] = lambda evaluation: None,
    control: Callable[[], ControlSignal] = lambda: "go",
    checkpointing: Checkpointing | None = None,
) -> FineTuneResult:
    """One run from its configuration alone: reads data and model, then `finetune_model`.

    Raises InputError for values and data that cannot be used.
    """
    gc.collect()  # see `memory.reset_peak`
    inputs = load_run_inputs(config.task, config.data, config.model, config.max_length)
    return finetune_model(config, inputs.base, inputs.data, report, control, checkpointing)


def finetune_model(
    config: FineTuneConfig,
    base: PretrainedEncoder,
    data: TaskData,
    report: Callable[[Evaluation], None] = lambda evaluation: None,
    control: Callable[[], ControlSignal] = lambda: "go",
    checkpointing: Checkpointing | None = None,
) -> FineTuneResult:
    """One run with model and data in memory, on this rank or on all ranks of the process group.

    report: hears of each evaluation (on every rank). control: asked at each step and each
    evaluation batch (rank 0's answer counts): "stop" drops the run, "suspend" writes a
    checkpoint first. Where `checkpointing` holds a checkpoint, the run goes on from it.
    """
    return _Run(config, base, data, report, control, checkpointing).go()


class _Run:
    def __init__(
        self,
        config: FineTuneConfig,
        base: PretrainedEncoder,
        data: TaskData,
        report: Callable[[Evaluation], None],
        control: Callable[[], ControlSignal],
        checkpointing: Checkpointing | None,
    ) -> None:
        self.config, self.base, self.data, self.task = config, base, data, data.task
        self.report, self.control, self.checkpointing = report, control, checkpointing
        self.parts: dict[str, float] = {}
        with self._part("start"):
            self._get_ready()
        self.began = self.saved = time.monotonic()

    def _get_ready(self) -> None:
        config, base = self.config, self.base
        train, self.evaluated = self._slices()
        self.max_steps = config.steps(len(train))
        order = config.seed if config.data_seed is None else config.data_seed
        self.batches = TrainingBatches(
            train, base.tokenizer, config.batch_size, order, get_rank(), get_world_size()
        )
        self.device = get_device()
        reset_peak_memory(self.device)
        torch.manual_seed(config.seed)
        self.model = base.build(config.seed, config.method.dropout(self.max_steps))
        self.model.to(self.device)  # type: ignore[arg-type]
        self.optimizer = make_adamw(self.model, config.learning_rate, config.weight_decay)
        config.method.attach(self.model, self.optimizer, self.max_steps, config.max_grad_norm)
        attachment = attachment_of(self.optimizer)
        assert attachment is not None
        self.attachment = attachment
        self.wrapped = wrap_model(self.model)
        self.autocast, self.scaler = make_autocast_and_scaler(config.precision, self.device)
        self.step, self.spent, self.scores = 0, 0.0, list[tuple[int, float]]()
        self.warnings: list[str] = []
        self.evaluator = Evaluator(
            config, base, self.model, self.data, self.autocast, self.control, self.warnings.append
        )
        self._resume()

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        """Count the seconds within as this part of the run."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.parts[name] = self.parts.get(name, 0.0) + time.monotonic() - began

    def _slices(self) -> tuple[EncodedExamples, EncodedExamples]:
        train = self.data.get_train_examples(self.config.train_size)
        if self.config.select_on == "dev":
            return train, self.data.get_split("dev")
        return split_holdout(self.task, train, self.config.holdout_share, self.config.seed)

    def go(self) -> FineTuneResult:
        try:
            outcome, final = self._train(), {}
            if outcome == Outcome.COMPLETED:
                with self._part("evaluation"):
                    final = self.evaluator.score_at_end()
        except RunEnded as ended:
            outcome, final = ended.outcome, {}
        return self._result(outcome, final)

    def _train(self) -> Outcome:
        evaluate_at = _spread_evaluations(self.config.evaluations, self.max_steps)
        check_every = 1 if self.device.type == "cpu" else GPU_LOSS_CHECK_STEPS
        self.wrapped.train()
        if self.step == 0 and self.config.method.cost.calibration_epochs:
            self.attachment.calibrate(self.wrapped, self._epoch(), self.config.micro_batch)
        while self.step < self.max_steps:
            signal = broadcast_value(self.control())
            if signal != "go":
                return self._leave(signal)
            loss = self._one_step()
            looks = self.step % check_every == 0 or self.step in evaluate_at
            if looks and not all(gather_values(bool(loss.isfinite()))):  # one rank's NaN is everyone's
                return Outcome.DIVERGED
            if self.step in evaluate_at:
                self._evaluate_and_report(float(loss))
                self._save_if_due()
        return Outcome.COMPLETED

    def _epoch(self) -> Iterator[dict[str, Tensor]]:
        """Every training example once."""
        for step in range(1, self.batches.steps_per_epoch + 1):
            if (signal := broadcast_value(self.control())) != "go":
                raise RunEnded(Outcome.STOPPED if signal == "stop" else Outcome.SUSPENDED)
            yield self._batch(step)

    def _batch(self, step: int) -> dict[str, Tensor]:
        return {k: move_to_device(v, self.device) for k, v in self.batches.get_batch(step).items()}

    def _one_step(self) -> Tensor:
        step = self.step + 1
        # Each step has a seed of its own: a resumed run draws the same dropout.
        torch.manual_seed(derive_step_seed(self.config.seed * get_world_size() + get_rank(), step))
        optim.set_learning_rate(self.optimizer, self._learning_rate(step))
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.attachment.accumulate(
            self.wrapped, self._batch(step), self.config.micro_batch, self.scaler.scale, self.autocast
        )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step = step
        return loss

    def _learning_rate(self, step: int) -> float:
        factor = compute_learning_rate_factor(step, self.max_steps, self.config.warmup_ratio)
        return self.config.learning_rate * factor

    def _evaluate_and_report(self, loss: float) -> None:
        with self._part("evaluation"):
            scores = self.evaluator.score(self.evaluated)
        self.scores.append((self.step, scores[self.task.metric]))
        with self._part("report"):
            curve = list(self.scores)
            self.report(Evaluation(self.step, self.max_steps, scores, loss, self._seconds(), curve))

    def _seconds(self) -> float:
        return self.spent + time.monotonic() - self.began

    def _leave(self, signal: ControlSignal) -> Outcome:
        if signal == "stop":
            return Outcome.STOPPED
        self._save()
        return Outcome.SUSPENDED

    def _save_if_due(self) -> None:
        due = self.checkpointing and time.monotonic() - self.saved >= self.checkpointing.every_s
        if due and self.step < self.max_steps:
            with self._part("checkpoint"):
                self._save()

    def _save(self) -> None:
        if self.checkpointing is None or get_rank() != 0 or self.step == 0:
            return
        tree = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "seconds": self._seconds(),
            "scores": self.scores,
        }
        try:
            place = checkpoint.save_checkpoint(self.checkpointing.folder, self.step, tree)
            if self.checkpointing.written is not None:
                self.checkpointing.written(place)
        except OSError as error:  # the run is none the worse for it
            if not any(warning.startswith(CHECKPOINT_WARNING) for warning in self.warnings):
                self.warnings.append(f"{CHECKPOINT_WARNING} from step {self.step} on: {error}")
        self.saved = time.monotonic()

    def _resume(self) -> None:
        if self.checkpointing is None:
            return
        tree = load_checkpoint(self.checkpointing.folder, self.warnings.append)
        if tree is None:
            if self.warnings:
                self.warnings.append("no checkpoint is whole; the run starts anew")
            return
        self.model.load_state_dict(tree["model"])
        self.optimizer.load_state_dict(tree["optimizer"])
        self.scaler.load_state_dict(tree["scaler"])
        self.step, self.spent = tree["step"], tree["seconds"]
        self.scores = [(step, score) for step, score in tree["scores"]]

    def _result(self, outcome: Outcome, final: dict[str, dict[str, float]]) -> FineTuneResult:
        self.attachment.detach()
        share = self.attachment.selected_share
        if outcome == Outcome.COMPLETED and self.config.method.selects_weights and share in (None, 1.0):
            self.warnings.append(
                f"{self.config.method.name}: no mask ever held a weight back in these {self.max_steps} "
                f"steps; lower selection_ratio below 1 or update_ratio below 0.5"
            )
        return FineTuneResult(
            outcome=outcome,
            scores=self.scores,
            seconds=self._seconds(),
            covered=describe_coverage(self.model, find_covered_weights(self.model)),
            selected_share=share,
            passes=self.config.method.cost.passes(self.step, self.batches.steps_per_epoch),
            peak_memory=get_peak_memory(self.device),
            micro_batch=self.config.micro_batch,
            parts=self.parts,
            final=final,
            warnings=self.warnings,
            steps=self.step,
            logits=self.evaluator.logits,
            labels=self.evaluator.labels,
            model=self.model,
            tokenizer=self.base.tokenizer,
            task=self.task,
            max_length=self.config.max_length,
        )


def _spread_evaluations(times: int, max_steps: int) -> set[int]:
    """`times` steps spread evenly over the run, the last step among them."""
    return {max(1, round(max_steps * (i + 1) / times)) for i in range(times)}
