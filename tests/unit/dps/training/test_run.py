"""One run: what it reports, what it depends on, how it ends and how it goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import dps
from dps import sources
from dps.attachment.losses import TaskLoss, get_task_loss
from dps.methods.ema import EMA
from dps.methods.ia3 import IA3
from dps.methods.lora import DoRA
from dps.methods.wise_ft import WiSEFT
from dps.models import PretrainedEncoder, locate_model
from dps.predict import Predictor
from dps.tasks import metrics, registry
from dps.training import checkpoint, optim
from dps.training.config import Checkpointing, FineTuneConfig, FineTuneResult
from dps.training.data import PaddingCollator, TaskData, split_holdout
from dps.training.result import ControlSignal, Evaluation, Outcome
from dps.training.run import finetune, finetune_model
from tests import tiny
from tests.tiny import Recording

STEPS = 12
DENSE = dps.DPSDense(selection_ratio=0.5, update_ratio=0.25)  # Stage I in steps 1-3 and 7-9
MIX = dps.DPSMix(selection_ratio=0.5, update_ratio=0.25)
CONFIG = FineTuneConfig(method=DENSE, learning_rate=2e-3, max_steps=STEPS, batch_size=8, evaluations=4)
Run = Callable[..., FineTuneResult]


def signals(first: int, signal: ControlSignal) -> Callable[[], ControlSignal]:
    """Says "go" `first` times, then `signal`."""
    left: Iterator[ControlSignal] = iter(["go"] * first)  # type: ignore[arg-type]
    return lambda: next(left, signal)


def weights(result: FineTuneResult) -> dict[str, torch.Tensor]:
    assert result.model is not None
    return tiny.snapshot(result.model)


def head(result: FineTuneResult) -> torch.Tensor:
    return weights(result)["classifier.weight"]


@pytest.mark.parametrize(
    "method", [EMA(decay=0.9), WiSEFT(alpha=0.5), MIX, DoRA(), IA3()], ids=lambda method: method.name
)
def test_the_scored_weights_are_the_saved_ones(
    go: Run, tiny_data: TaskData, method: dps.Method, tmp_path: Path
) -> None:
    """Also those of a run that was interrupted."""
    result = go(method=method)
    checkpointing = Checkpointing(tmp_path / "checkpoints", every_s=0)
    cut = go(control=signals(8, "suspend"), checkpointing=checkpointing, method=method)
    assert cut.outcome == "suspended"
    resumed = go(checkpointing=checkpointing, method=method)
    assert resumed.scores == result.scores
    assert tiny.same(weights(resumed), weights(result))
    result.save(tmp_path / "model")
    load = transformers.AutoModelForSequenceClassification.from_pretrained
    saved, info = load(tmp_path / "model", output_loading_info=True)
    assert not any(info[keys] for keys in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    dev = tiny_data.get_split("dev")
    batch = PaddingCollator(tiny_data.tokenizer)(dev, np.arange(len(dev)))
    with torch.no_grad():
        logits = saved.eval()(**batch).logits.numpy()
    np.testing.assert_allclose(result.logits["dev"], logits, rtol=1e-5, atol=1e-5)


def test_a_run_from_its_configuration_alone_completes(tiny_model: Path, tiny_cola: Path) -> None:
    reports: list[Evaluation] = []
    config = replace(CONFIG, model=str(tiny_model), data=str(tiny_cola), learning_rate=1e-2, max_steps=24)
    result = finetune(config, reports.append)
    assert (result.outcome, result.steps) == ("completed", 24)
    assert [report.step for report in reports] == [6, 12, 18, 24]
    assert result.scores == [(report.step, report.scores["matthews_correlation"]) for report in reports]
    assert all(report.max_steps == 24 and math.isfinite(report.loss) for report in reports)
    assert result.score == result.scores[-1][1] == result.final["dev"]["matthews_correlation"]
    assert result.score > 0.5  # the first word tells the label
    seconds = [report.seconds for report in reports]
    assert seconds[0] > 0
    assert seconds == sorted(seconds)
    assert seconds[-1] <= result.seconds
    assert set(result.parts) == {"start", "evaluation", "report"}
    assert 0 < result.parts["evaluation"] < result.seconds


@pytest.mark.parametrize("select_on", ["holdout", "dev"])
def test_a_run_says_the_share_of_its_most_frequent_answer(go: Run, select_on: str) -> None:
    untrained = go(learning_rate=1e-12, select_on=select_on)
    assert (untrained.top_share, untrained.is_collapsed) == (1.0, True)
    reports: list[Evaluation] = []
    learnt = go(reports.append, learning_rate=1e-2, max_steps=24, select_on=select_on)
    assert learnt.top_share is not None
    assert reports[-1].top_share == learnt.top_share
    assert reports[0].top_share is not None
    assert (learnt.top_share < 0.8, learnt.is_collapsed) == (True, False)
    never = go(control=lambda: "stop")
    assert (never.top_share, never.is_collapsed) == (None, None)


@pytest.mark.parametrize(
    ("evaluations", "expected"),
    [(1, [12]), (3, [4, 8, 12]), (5, [2, 5, 7, 10, 12]), (99, list(range(1, 13)))],
)
def test_evaluations_are_even_and_the_last_is_at_the_end(
    go: Run, evaluations: int, expected: list[int]
) -> None:
    assert [step for step, _ in go(evaluations=evaluations).scores] == expected


@pytest.mark.parametrize("method", [DENSE, MIX, dps.Vanilla()], ids=lambda method: method.name)
def test_the_same_seed_gives_the_same_run_and_another_another(go: Run, method: dps.Method) -> None:
    one, again, other = go(method=method), go(method=method), go(method=method, seed=1)
    assert one.scores == again.scores
    assert tiny.same(weights(one), weights(again))
    assert not tiny.same(weights(one), weights(other))


def test_a_data_seed_changes_the_order_of_the_data_and_nothing_else(go: Run) -> None:
    def seen(seed: int, data_seed: int | None) -> tuple[list[list[tuple[int, ...]]], torch.Tensor]:
        method = Recording()
        go(method=method, seed=seed, data_seed=data_seed, max_steps=8)  # one epoch of 60 in eights
        return method.seen, head(
            go(method=Recording(), seed=seed, data_seed=data_seed, control=lambda: "stop")
        )

    first, other_order, other_head = seen(0, 5), seen(0, 6), seen(1, 5)
    assert first[0] == other_head[0]
    assert first[0] != other_order[0]
    assert sorted(chain(*first[0])) == sorted(chain(*other_order[0]))
    assert torch.equal(first[1], other_order[1])
    assert not torch.equal(first[1], other_head[1])
    assert seen(5, None)[0] == first[0]  # without one, the seed orders the data


def test_the_selection_of_examples_is_trained_on_and_nothing_else(go: Run, tiny_data: TaskData) -> None:
    method = Recording()
    go(method=method, max_steps=None, epochs=2)
    expected = sorted(tuple(example["input_ids"]) for example in tiny_data.get_train_examples(None).tokens)
    assert len(method.seen) == 2 * 8
    assert sorted(chain(*method.seen[:8])) == sorted(chain(*method.seen[8:])) == expected


@pytest.mark.parametrize("seed", [0, 1])
def test_held_out_examples_are_never_trained_on(go: Run, tiny_data: TaskData, seed: int) -> None:
    method = Recording()
    result = go(method=method, select_on="holdout", max_steps=None, epochs=3, seed=seed)
    kept, held = split_holdout(tiny_data.task, tiny_data.get_train_examples(None), 0.2, seed)
    trained = {row for batch in method.seen for row in batch}
    assert trained == {tuple(example["input_ids"]) for example in kept.tokens}
    assert not trained & {tuple(example["input_ids"]) for example in held.tokens}
    assert len(trained) == 48
    assert result.final == {}  # the dev set was not looked at


def test_a_subset_is_the_same_for_every_seed(go: Run) -> None:
    trained = []
    for seed in (0, 1):
        method = Recording()
        go(method=method, train_size=20, seed=seed, max_steps=None, epochs=1)
        trained.append({row for batch in method.seen for row in batch})
    assert trained[0] == trained[1]
    assert len(trained[0]) == 20


@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_stop_takes_effect_at_the_next_step(go: Run, after: int) -> None:
    result = go(control=signals(after, "stop"), evaluations=1)
    assert (result.outcome, result.steps, result.scores) == ("stopped", after, [])


def test_a_stop_takes_effect_inside_an_evaluation(go: Run) -> None:
    reports: list[Evaluation] = []
    result = go(reports.append, signals(3, "stop"))  # three steps, then the first evaluation
    assert (result.outcome, result.steps, reports) == ("stopped", 3, [])


@pytest.mark.parametrize("method", [DENSE, MIX, dps.Vanilla()], ids=lambda method: method.name)
@pytest.mark.parametrize("at", [2, 4, 7])
def test_suspend_and_resume_equals_the_undisturbed_run(
    go: Run, tmp_path: Path, method: dps.Method, at: int
) -> None:
    options: dict[str, Any] = {"method": method, "evaluations": 12}  # one evaluation batch a step
    whole = go(**options)
    first = go(**options, control=signals(2 * at, "suspend"), checkpointing=Checkpointing(tmp_path))
    assert (first.outcome, first.steps, len(first.scores)) == ("suspended", at, at)
    kept = checkpoint.load_checkpoint(tmp_path, pytest.fail)
    assert kept is not None
    reports: list[Evaluation] = []
    second = go(reports.append, checkpointing=Checkpointing(tmp_path), **options)
    assert (second.outcome, second.steps) == ("completed", STEPS)
    assert [report.step for report in reports] == list(range(at + 1, STEPS + 1))
    assert second.scores == whole.scores
    assert second.final == whole.final
    assert second.selected_share == whole.selected_share
    assert tiny.same(weights(second), weights(whole))
    assert second.seconds > kept["seconds"] > 0
    assert second.warnings == []


def test_a_run_that_dies_goes_on_from_its_last_checkpoint(go: Run, tmp_path: Path) -> None:
    def die_at_nine(evaluation: Evaluation) -> None:
        if evaluation.step == 9:
            raise OSError("gone")

    always = Checkpointing(tmp_path, every_s=0)
    with pytest.raises(OSError, match="gone"):
        go(die_at_nine, checkpointing=always)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-00000003", "step-00000006"]
    (tmp_path / "step-00000006" / "tensors.safetensors").write_bytes(b"cut off")
    reports: list[Evaluation] = []
    result = go(reports.append, checkpointing=always)
    assert [report.step for report in reports] == [6, 9, 12]
    assert tiny.same(weights(result), weights(go()))
    assert len(result.warnings) == 1
    assert "step-00000006 is broken" in result.warnings[0]


def test_where_no_checkpoint_is_whole_the_run_starts_anew_and_says_so(go: Run, tmp_path: Path) -> None:
    go(control=signals(2, "suspend"), checkpointing=Checkpointing(tmp_path))
    for file in tmp_path.rglob("tree.json"):
        file.write_text("")
    result = go(checkpointing=Checkpointing(tmp_path))
    assert result.scores == go().scores
    assert result.warnings[-1] == "no checkpoint is complete; the run starts from the beginning"


def test_a_run_that_was_never_suspended_writes_no_checkpoint_before_it_is_due(
    go: Run, tmp_path: Path
) -> None:
    go(checkpointing=Checkpointing(tmp_path, every_s=3600))
    assert list(tmp_path.iterdir()) == []


def test_a_loss_of_nan_ends_the_run_at_once(go: Run) -> None:
    result = go(method=Recording(nan_from=5))
    assert (result.outcome, result.steps) == ("diverged", 5)
    assert [step for step, _ in result.scores] == [3]
    assert result.final == {}


def test_weights_of_nan_behind_a_finite_loss_end_the_run(go: Run) -> None:
    class Poisoned(dps.Vanilla):
        def loss(self, model: Any, batch: Any) -> torch.Tensor:
            loss = super().loss(model, batch)
            loss.register_hook(lambda grad: grad * math.nan)
            return loss

    result = go(method=Poisoned(), max_steps=1)
    assert (result.outcome, result.steps, result.scores, result.final) == ("diverged", 1, [], {})


@pytest.mark.parametrize(
    "method", [dps.DPSDense(update_ratio=1.0), dps.DPSMix(selection_ratio=1.0, update_ratio=0.25)]
)
def test_a_run_in_which_no_mask_holds_a_weight_back_warns(go: Run, method: dps.Method) -> None:
    result = go(method=method)
    assert result.selected_share == (None if isinstance(method, dps.DPSDense) else 1.0)
    assert len(result.warnings) == 1
    assert f"{method.name}: no mask ever held a weight back in these 12 steps" in result.warnings[0]


def test_a_run_with_masks_reports_their_share_and_does_not_warn(go: Run) -> None:
    result = go()
    assert result.selected_share == pytest.approx(0.5, abs=0.02)
    assert result.warnings == []
    assert go(method=dps.Vanilla()).warnings == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("epochs", 0),
        ("max_steps", 0),
        ("batch_size", 0),
        ("max_length", -1),
        ("train_size", 0),
        ("evaluations", 0),
        ("holdout_share", 1.0),
        ("warmup_ratio", 1.5),
        ("weight_decay", -0.1),
        ("max_grad_norm", 0.0),
        ("seed", -1),
        ("select_on", "test"),
        ("precision", "fp8"),
        ("loss", "mse"),
    ],
)
def test_a_value_outside_its_range_is_refused_naming_it(name: str, value: Any) -> None:
    with pytest.raises(dps.InputError, match=f"^{name} must be .*, but got '?{value}'?$"):
        FineTuneConfig(**{name: value})


def test_half_precision_on_a_cpu_is_refused_and_bfloat16_works(go: Run) -> None:
    if torch.cuda.is_available():
        pytest.skip("about a machine without a GPU")
    with pytest.raises(dps.InputError, match="fp16 needs a GPU; use fp32 or bf16 on a CPU"):
        go(precision="fp16")
    bf16, fp32 = go(precision="bf16"), go(precision="fp32")
    assert bf16.outcome == "completed"
    assert not tiny.same(weights(bf16), weights(fp32))
    assert tiny.same(weights(fp32), weights(go(precision="auto")))


def test_attention_is_plain_products_in_bf16_on_a_cpu_and_saved_models_do_not_tell(
    go: Run, tmp_path: Path
) -> None:
    if torch.cuda.is_available():
        pytest.skip("about a machine without a GPU")
    fp32, bf16 = go(), go(precision="bf16")
    assert fp32.model is not None
    assert bf16.model is not None
    assert [one.model.config._attn_implementation for one in (fp32, bf16)] == ["sdpa", "eager"]
    bf16.save(tmp_path)
    assert "attn" not in (tmp_path / "config.json").read_text()
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert again.config._attn_implementation == "sdpa"


def other_task(name: str, tiny_model: Path, folder: Path) -> tuple[PretrainedEncoder, TaskData]:
    task = registry.get_task(name)
    base = PretrainedEncoder(locate_model(str(tiny_model)), task)
    source = sources.open_data_source(str(tiny.data_folder(folder, task, train=48)))
    return base, TaskData(task, source, base.tokenizer, 32)


def test_a_regression_task_is_learned(tiny_model: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, task="stsb", learning_rate=1e-2, max_steps=40, select_on="holdout")
    result = finetune_model(config, *other_task("stsb", tiny_model, tmp_path))
    assert result.outcome == "completed"
    assert result.score is not None
    assert result.score > 0.5


def test_mnli_returns_both_dev_sets_the_main_one_first(tiny_model: Path, tmp_path: Path) -> None:
    result = finetune_model(replace(CONFIG, task="mnli"), *other_task("mnli", tiny_model, tmp_path))
    assert list(result.final) == ["dev", "dev_mismatched"]
    figures = ["accuracy", "log_loss", "calibration_error"]
    assert all(list(scores) == figures for scores in result.final.values())
    assert result.final["dev"]["accuracy"] == result.score


@pytest.mark.parametrize("method", [DENSE, MIX], ids=lambda method: method.name)
def test_what_is_saved_loads_into_plain_transformers(
    go: Run, tiny_data: TaskData, tmp_path: Path, method: dps.Method
) -> None:
    result = go(method=method, learning_rate=1e-2)
    result.save(tmp_path)
    model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert tiny.same(dict(model.state_dict()), weights(result))
    assert model.config.id2label == {0: "unacceptable", 1: "acceptable"}
    assert list(tmp_path.glob("*.safetensors"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    dev = tiny_data.source.load(tiny_data.task, "dev")
    batch = tokenizer(list(dev["sentence"]), padding=True, return_tensors="pt")
    predictions = model.eval()(**batch).logits.argmax(dim=1).numpy()
    score = metrics.METRICS["matthews_correlation"](np.asarray(dev["label"]), predictions)
    assert score == pytest.approx(result.score)


def test_the_model_of_a_finished_run_has_no_hooks_left(go: Run) -> None:
    model = go(method=MIX).model
    assert model is not None
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


def test_the_learning_rate_warms_up_and_decays(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    monkeypatch.setattr(optim, "set_learning_rate", lambda optimizer, rate: rates.append(rate))
    go(max_steps=20, warmup_ratio=0.25, learning_rate=1.0)
    up, down = [i / 5 for i in range(5)], [1 - i / 15 for i in range(15)]
    assert rates == pytest.approx([*up, *down])


def test_without_warm_up_the_peak_is_the_first_step() -> None:
    assert [optim.compute_learning_rate_factor(step, 4, 0.0) for step in range(1, 5)] == [
        1.0,
        0.75,
        0.5,
        0.25,
    ]


def test_the_learning_rate_reaches_every_group() -> None:
    optimizer = optim.make_adamw(tiny.MLP(3, 2), 1e-3, 0.01)
    optim.set_learning_rate(optimizer, 5e-4)
    assert [group["lr"] for group in optimizer.param_groups] == [5e-4, 5e-4]


def test_biases_and_normalisation_do_not_decay(tiny_base: PretrainedEncoder) -> None:
    model = tiny_base.build(0, 0.0)
    model.bert.pooler.requires_grad_(False)
    optimizer = optim.make_adamw(model, 1e-3, 0.05)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        if "pooler" in name:
            assert id(parameter) not in decay
        else:
            assert decay[id(parameter)] == (0.0 if "LayerNorm" in name or name.endswith("bias") else 0.05)


def test_the_dropout_of_a_run_is_the_methods(go: Run) -> None:
    for method, expected in ((dps.Vanilla(0.25), 0.25), (DENSE, 0.0), (MIX, 0.0)):
        model = go(method=method, control=lambda: "stop").model
        assert model is not None
        rates = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
        assert rates == {expected}


def test_the_steps_of_a_run_follow_from_epochs_unless_they_are_given() -> None:
    config = FineTuneConfig(epochs=3, batch_size=16)
    assert config.steps(8551) == 3 * 535 == 1605  # CoLA
    assert replace(config, epochs=0.5).steps(8551) == 268
    assert replace(config, epochs=0.001).steps(8551) == 1
    assert replace(config, max_steps=7).steps(8551) == 7


def test_a_result_tells_its_last_and_its_highest_score() -> None:
    result = FineTuneResult(outcome=Outcome.COMPLETED, scores=[(1, 0.2), (2, 0.5), (3, 0.4)])
    assert (result.last, result.best) == (0.4, 0.5)
    assert (FineTuneResult().last, FineTuneResult().best) == (None, None)


def test_adapters_train_under_bf16_and_leave_a_model_in_fp32(go: Run) -> None:
    result = go(method=DoRA(), precision="bf16")
    assert result.outcome == "completed"
    assert {value.dtype for value in weights(result).values() if value.is_floating_point()} == {torch.float32}
    assert not tiny.same(result.logits["dev"].tolist(), go(method=DoRA()).logits["dev"].tolist())


def test_balanced_weights_come_from_what_is_trained_on(
    go: Run, tiny_data: TaskData, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[Any] = []
    fit = TaskLoss.fit
    monkeypatch.setattr(TaskLoss, "fit", lambda *given: fitted.append(given) or fit(*given))
    result = go(loss="balanced", select_on="holdout", holdout_share=0.5, evaluations=1)
    labels, train = fitted[0][2], tiny_data.get_split("train")
    kept, _ = split_holdout(tiny_data.task, train, 0.5, CONFIG.seed)
    assert labels.tolist() == kept.labels.tolist()
    assert get_task_loss(result.model).name == "plain"  # type: ignore[arg-type]


def test_a_tuned_threshold_is_that_of_the_slice_and_is_kept(
    go: Run, tiny_data: TaskData, tmp_path: Path
) -> None:
    kept = go(threshold="tuned", select_on="holdout", holdout_share=0.5)
    _, held_out = split_holdout(tiny_data.task, tiny_data.get_split("train"), 0.5, CONFIG.seed)
    kept.save(tmp_path)
    predictor = Predictor.load(str(tmp_path))
    assert predictor.threshold == kept.threshold != 0.5
    texts = tiny_data.load_split("train").select(held_out.rows)[tiny_data.task.columns[0]][:]
    said = [tiny_data.task.labels.index(each["label"]) for each in predictor.predict(texts)]
    assert metrics.get_metric(tiny_data.task.metric)(held_out.labels, np.array(said)) == pytest.approx(
        kept.score
    )
    even = go(select_on="holdout", holdout_share=0.5)
    assert even.threshold is None
    assert even.score < kept.score  # type: ignore[operator]
    assert go(threshold=kept.threshold).final["dev"]["log_loss"] == go().final["dev"]["log_loss"]
    with pytest.raises(dps.InputError, match=r"^threshold, select_on:"):
        go(threshold="tuned")
