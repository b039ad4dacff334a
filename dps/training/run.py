"""The training loop: fine-tune one model with one method. Knows nothing of Ray, MLflow or Optuna."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dps import distributed
from dps.attachment.draws import derive_step_seed, seed_draws
from dps.attachment.losses import TaskLoss, check_loss
from dps.coverage import describe_coverage, find_covered_weights
from dps.methods import attachment_of
from dps.models import PretrainedEncoder
from dps.training import checkpoint, memory, optim
from dps.training.config import Checkpointing, FineTuneConfig, FineTuneResult, check_shard
from dps.training.data import TaskData, TrainingBatches, split_holdout
from dps.training.evaluation import Evaluator, Patience, RunEnded
from dps.training.inputs import load_measured_inputs
from dps.training.result import ControlSignal, Evaluation, Outcome
from dps.training.tokens import EncodedExamples

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

CHECKPOINT_WARNING = "no checkpoint could be written"
GPU_LOSS_CHECK_STEPS = 10  # steps between two checks of the loss, each of which waits for the GPU


def finetune(
    config: FineTuneConfig,
    report: Callable[[Evaluation], None] = lambda evaluation: None,
    control: Callable[[], ControlSignal] = lambda: "go",
    checkpointing: Checkpointing | None = None,
) -> FineTuneResult:
    """Fine-tune from a configuration alone: load data and model, then call `finetune_model`.

    Raises InputError for unusable values and data.
    """
    gc.collect()  # see `memory.reset_peak_memory`
    inputs, lengths = load_measured_inputs(config)
    result = finetune_model(config, inputs.base, inputs.data, report, control, checkpointing)
    if lengths.cut:
        result.warnings.append(f"max_length: texts are {lengths}; raise it, or split them")
    return result


def finetune_model(
    config: FineTuneConfig,
    base: PretrainedEncoder,
    data: TaskData,
    report: Callable[[Evaluation], None] = lambda evaluation: None,
    control: Callable[[], ControlSignal] = lambda: "go",
    checkpointing: Checkpointing | None = None,
    progress: Callable[[int, int, float], None] = lambda step, max_steps, seconds: None,
) -> FineTuneResult:
    """Fine-tune with model and data in memory, on this rank or on all ranks of the process group.

    report: called with each evaluation, on every rank.
    control: called at each step and each evaluation batch; rank 0's answer counts. "stop" ends the run,
        "suspend" writes a checkpoint first.
    checkpointing: if its folder holds a checkpoint, the run continues from it.
    progress: called after each step, on every rank: the step, the number of steps, the seconds so far.
    """
    return _Run(config, base, data, report, control, checkpointing, progress).execute()


class _Run:
    """State of one run: model, optimizer, batches, the step that is done, the scores so far."""

    def __init__(
        self,
        config: FineTuneConfig,
        base: PretrainedEncoder,
        data: TaskData,
        report: Callable[[Evaluation], None],
        control: Callable[[], ControlSignal],
        checkpointing: Checkpointing | None,
        progress: Callable[[int, int, float], None],
    ) -> None:
        self.config, self.base, self.data, self.task = config, base, data, data.task
        self.report, self.control, self.checkpointing = report, control, checkpointing
        self.progress = progress
        self.seconds_by_part: dict[str, float] = {}
        self.step, self.earlier_seconds, self.scores = 0, 0.0, list[tuple[int, float]]()
        self.warnings: list[str] = []
        with self._timed("start"):
            self._set_up()
        self.started_at = self.saved_at = time.monotonic()

    def _set_up(self) -> None:
        config, base = self.config, self.base
        train, self.watched_examples = self._split_examples()
        self.max_steps = config.steps(len(train))
        data_seed = config.seed if config.data_seed is None else config.data_seed
        ranks = distributed.get_rank(), distributed.get_world_size()
        self.batches = TrainingBatches(train, base.tokenizer, config.batch_size, data_seed, *ranks)
        self.device = distributed.get_device()
        if config.shard:
            check_shard(optim.resolve_precision(config.precision, self.device), config.probe)
        memory.reset_peak_memory(self.device)
        seed_draws(config.seed)
        self.model = base.build(config.seed, config.method.dropout(self.max_steps))
        optim.choose_attention(self.model, config.precision, self.device, self.data.max_length)
        if config.gradient_checkpointing:
            memory.recompute_activations(self.model)
        shards_first = config.shard and not config.method.adds_layers
        if shards_first:
            memory.shard_model(self.model, self.device)
        elif not config.shard:
            self.model.to(self.device)  # type: ignore[arg-type]
        self.optimizer = optim.make_adamw(self.model, config.learning_rate, config.weight_decay)
        check_loss(config.loss, self.task, [type(config.method)], config.label_smoothing)
        loss = TaskLoss.fit(config.loss, self.task, train.labels, config.label_smoothing)
        self.restore_loss = loss.apply(self.model)
        method = config.method.fit_to_length(self.max_steps)
        if method != config.method:
            short = f"a run of {self.max_steps} steps is too short for {config.method}"
            self.warnings.append(f"{short}: trained with {method}")
        method.attach(self.model, self.optimizer, self.max_steps, config.max_grad_norm)
        attachment = attachment_of(self.optimizer)
        assert attachment is not None
        self.attachment = attachment
        if attachment.offered_alphas and not config.holds_out:
            self.warnings.append(
                f"{method.name}: no slice is held out to choose alpha on: it is {attachment.alpha}"
            )
        if config.shard and not shards_first:
            attachment.follow_parameters(memory.shard_model(self.model, self.device))
        self.wrapped = self.model if config.shard else distributed.wrap_model(self.model)
        self.autocast, self.scaler = optim.make_autocast_and_scaler(config.precision, self.device)
        self.evaluator = Evaluator(
            config, base, self.model, self.data, self.autocast, self.control, self.warnings.append
        )
        self.patience = (
            None if config.patience is None else Patience(config.patience, self.evaluator, attachment)
        )
        self._resume()

    def _split_examples(self) -> tuple[EncodedExamples, EncodedExamples]:
        """Return the examples to train on and those that are scored on the way."""
        train = self.data.get_train_examples(self.config.train_size, self.config.shots, self.config.seed)
        if not self.config.holds_out:
            return train, self.data.get_split("dev")
        return split_holdout(self.task, train, self.config.holdout_share, self.config.seed)

    def execute(self) -> FineTuneResult:
        """Train to the end, or until stopped; return the result."""
        try:
            outcome, final = self._train(), {}
            if outcome == Outcome.COMPLETED:
                final = self._score_at_end()
        except RunEnded as ended:
            outcome, final = ended.outcome, {}
        return self._make_result(outcome, final)

    def _train(self) -> Outcome:
        evaluation_steps = _spread_evaluations(self.config.evaluations, self.max_steps)
        check_every = 1 if self.device.type == "cpu" else GPU_LOSS_CHECK_STEPS
        self.wrapped.train()
        if self.step == 0 and self.config.method.cost.calibration_epochs:
            self.attachment.calibrate(self.wrapped, self._iterate_epoch(), self.config.micro_batch)
        while self.step < self.max_steps and not (self.patience and self.patience.is_over):
            signal = distributed.broadcast_value(self.control())
            if signal != "go":
                return self._end_early(signal)
            loss = self._train_step()
            self.progress(self.step, self.max_steps, self._count_seconds())
            is_checked = self.step % check_every == 0 or self.step in evaluation_steps
            if is_checked and not all(
                distributed.gather_values(bool(loss.isfinite()))
            ):  # NaN on any rank ends all
                return Outcome.DIVERGED
            if self.step in evaluation_steps:
                self._evaluate(float(loss))
                self._save_if_due()
        return Outcome.COMPLETED

    def _train_step(self) -> Tensor:
        """Take one optimizer step; return the loss, detached."""
        config, step = self.config, self.step + 1
        # Each step has its own seed, so that a resumed run draws the same dropout.
        seed_draws(
            derive_step_seed(config.seed * distributed.get_world_size() + distributed.get_rank(), step)
        )
        factor = optim.compute_learning_rate_factor(step, self.max_steps, config.warmup_ratio)
        optim.set_learning_rate(self.optimizer, config.learning_rate * factor)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.attachment.accumulate(
            self.wrapped, self._get_batch(step), config.micro_batch, self.scaler.scale, self.autocast
        )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step = step
        return loss

    def _get_batch(self, step: int) -> dict[str, Tensor]:
        return {
            k: distributed.move_to_device(v, self.device) for k, v in self.batches.get_batch(step).items()
        }

    def _iterate_epoch(self) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of one epoch. Raises RunEnded."""
        for step in range(1, self.batches.steps_per_epoch + 1):
            if (signal := distributed.broadcast_value(self.control())) != "go":
                raise RunEnded(Outcome.STOPPED if signal == "stop" else Outcome.SUSPENDED)
            yield self._get_batch(step)

    def _evaluate(self, loss: float) -> None:
        """Score the model, and report it unless dev, which is scored at the end alone, is what counts."""
        with self._timed("evaluation"):
            if self.config.holds_out and (self.patience or self.step == self.max_steps):
                self.evaluator.choose_alpha(self.attachment, self.watched_examples)
            with self.attachment.evaluated():
                if self.patience is None:
                    scores = self.evaluator.score(self.watched_examples)
                else:
                    scores = self.patience.score(self.step, self.watched_examples)
        if not self._scores_dev_last:
            self._report(scores, loss)

    @property
    def _scores_dev_last(self) -> bool:
        return self.patience is not None and self.config.select_on == "dev"

    def _score_at_end(self) -> dict[str, dict[str, float]]:
        """Return the final metrics by set, of the weights that are kept. Raises RunEnded."""
        scores: dict[str, float] = {}
        with self._timed("evaluation"), self.attachment.evaluated():
            if self.patience is not None:
                self.patience.restore_weights()
            if self._scores_dev_last:
                scores = self.evaluator.score(self.data.get_split("dev"))
            final = self.evaluator.score_at_end()
        if self._scores_dev_last:
            self._report(scores, None)
        return final

    def _report(self, scores: dict[str, float], loss: float | None) -> None:
        self.scores.append((self.step, scores[self.task.metric]))
        with self._timed("report"):
            seconds, curve = self._count_seconds(), list(self.scores)
            top_share = self.evaluator.top_share
            self.report(Evaluation(self.step, self.max_steps, scores, loss, seconds, curve, top_share))

    def _end_early(self, signal: ControlSignal) -> Outcome:
        if signal == "stop":
            return Outcome.STOPPED
        self._save()
        distributed.gather_values(None)  # a rank that resumes at once finds the checkpoint
        return Outcome.SUSPENDED

    def _save_if_due(self) -> None:
        due = self.checkpointing and time.monotonic() - self.saved_at >= self.checkpointing.every_s
        if distributed.broadcast_value(bool(due)) and self.step < self.max_steps:
            with self._timed("checkpoint"):
                self._save()

    def _save(self) -> None:
        """Write a checkpoint; every rank calls this, and rank 0 writes it."""
        if self.checkpointing is None or self.step == 0:
            return
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "seconds": self._count_seconds(),
            "scores": self.scores,
            **({"patience": self.patience.state()} if self.patience else {}),
        }
        tree = distributed.join_tree(state)
        if distributed.get_rank() != 0:
            return
        try:
            folder = checkpoint.save_checkpoint(self.checkpointing.folder, self.step, tree)
            if self.checkpointing.on_written is not None:
                self.checkpointing.on_written(folder)
        except OSError as error:  # the run goes on without a checkpoint
            if not any(warning.startswith(CHECKPOINT_WARNING) for warning in self.warnings):
                self.warnings.append(f"{CHECKPOINT_WARNING} from step {self.step} on: {error}")
        self.saved_at = time.monotonic()

    def _resume(self) -> None:
        """Continue from the newest complete checkpoint, if there is one."""
        if self.checkpointing is None:
            return
        before = len(self.warnings)
        tree = checkpoint.load_checkpoint(self.checkpointing.folder, self.warnings.append)
        if tree is None:
            if len(self.warnings) > before:
                self.warnings.append("no checkpoint is complete; the run starts from the beginning")
            return
        checkpoint.load_weights(self.model, tree["model"])
        checkpoint.load_optimizer(self.optimizer, tree["optimizer"])
        self.scaler.load_state_dict(tree["scaler"])
        self.step, self.earlier_seconds = tree["step"], tree["seconds"]
        self.scores = [(step, score) for step, score in tree["scores"]]
        if self.patience:
            self.patience.load(tree["patience"])

    def _make_result(self, outcome: Outcome, final: dict[str, dict[str, float]]) -> FineTuneResult:
        adapter = self._take_adapter()
        self.attachment.finish()
        if self.patience:
            self.patience.restore_weights()
        self.restore_loss()
        config, share = self.config, self.attachment.selected_share
        if outcome == Outcome.COMPLETED and config.method.selects_weights and share in (None, 1.0):
            self.warnings.append(
                f"{config.method.name}: no mask ever held a weight back in these {self.step} steps; "
                f"set selection_ratio below 1 or update_ratio below 0.5"
            )
        return FineTuneResult(
            outcome=outcome,
            scores=self.scores,
            seconds=self._count_seconds(),
            covered=describe_coverage(self.model, find_covered_weights(self.model)),
            selected_share=share,
            passes=config.method.cost.passes(self.step, self.batches.steps_per_epoch),
            peak_memory=memory.get_peak_memory(self.device),
            micro_batch=config.micro_batch,
            parts=self.seconds_by_part,
            top_share=self.evaluator.top_share,
            alpha=self.patience.alpha if self.patience else self.attachment.alpha,
            kept_step=self.patience.step if self.patience else None,
            final=final,
            warnings=self.warnings,
            steps=self.step,
            logits=self.evaluator.logits,
            labels=self.evaluator.labels,
            model=self._collect_model(outcome) if config.shard else self.model,
            tokenizer=self.base.tokenizer,
            task=self.evaluator.task,
            threshold=None if config.threshold is None else self.evaluator.task.threshold,
            max_length=self.data.max_length,
            adapter=adapter,
            adapter_config=self.attachment.adapter_config,
        )

    def _take_adapter(self) -> dict[str, Tensor]:
        """Return the adapter that is kept; warn if the model's files lack what it goes with."""
        config, base = self.attachment.adapter_config, self.base
        if config is not None and base.missing_parameters:
            missing = base.missing_parameters[0]
            self.warnings.append(f"no adapter is kept: {missing} is not in the files of {base.name}")
            return {}
        if config is not None:
            config.base_model_name_or_path = base.name
        kept = self.patience.adapter if self.patience else {}
        return kept or self.attachment.copy_adapter()

    def _collect_model(self, outcome: Outcome) -> PreTrainedModel | None:
        """Return a plain model with the weights that the ranks share: on rank 0, of a completed run."""
        if outcome != Outcome.COMPLETED:
            return None
        weights = distributed.join_tree(self.model.state_dict())
        if distributed.get_rank() != 0:
            return None
        model = self.base.build(self.config.seed, self.config.method.dropout(self.max_steps))
        model.load_state_dict(weights)
        return model

    def _count_seconds(self) -> float:
        """Return the seconds of the run, those before an interruption included."""
        return self.earlier_seconds + time.monotonic() - self.started_at

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        """Add the seconds inside this context to a part of the run."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds_by_part[part] = self.seconds_by_part.get(part, 0.0) + time.monotonic() - start


def _spread_evaluations(count: int, max_steps: int) -> set[int]:
    """Return `count` steps spread evenly over the run, the last step among them."""
    return {max(1, round(max_steps * (i + 1) / count)) for i in range(count)}
