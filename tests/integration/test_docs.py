"""The documentation, run: the pages of DPS without the search on a tiny model, and the site."""

from __future__ import annotations

import csv
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from dps.methods import Attachment
from dps.methods.dps import DPSDenseAttachment, WeightState
from tests import tiny

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
DATA, FINETUNE, LOOP = "index", "finetune", "loop"
FRAMEWORKS = ("trainer", "accelerate", "lightning")
LABELS = ("billing", "bug", "praise")  # of two labels the rows of the classifier tie
EXAMPLES, STEPS = 128, 24
ON_PAGE = "dps.DPSDense(selection_ratio=0.7, update_ratio=0.1)"
LONGER = ON_PAGE.replace("0.1", "0.25")  # of few steps Mix leaves whole input neurons without a score
MIX = LONGER.replace("Dense", "Mix")
VARIANTS = {"dense-update": LONGER.replace(")", ', freeze="update")'), "mix-gradient": MIX}
RESUMED = {  # what changes on a page: in every run, and to go on after the first epoch
    "trainer": (("", ""), ("train()", 'train(resume_from_checkpoint="out/checkpoint-8")')),
    "accelerate": (
        ("", ""),
        ("for epoch in range(", 'accelerator.load_state("checkpoint-0")\nfor epoch in range(1, '),
    ),
    "lightning": (
        ("shuffle=True", "shuffle=False"),
        ("(classifier, loader)", '(classifier, loader, ckpt_path="checkpoints/epoch=0-step=8.ckpt")'),
    ),
}
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "labels")


def snippets(page: str) -> list[str]:
    """The Python blocks of a page of DPS without the search."""
    text = (ROOT / "docs/without" / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(page: str, *changes: tuple[str, str], names: dict[str, Any] | None = None) -> dict[str, Any]:
    """The blocks of a page, with something else in some places; returns their names."""
    names = {"__name__": page} if names is None else names
    for code in snippets(page):
        for old, new in changes:
            code = code.replace(old, new) if old else code
        exec(compile(code, f"{page}.md", "exec", dont_inherit=True), names)
    return names


@pytest.fixture
def at_work(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages name, as the working folder."""
    from accelerate.state import AcceleratorState, GradientState

    shutil.copytree(tiny_model, tmp_path / "bert-base-cased")
    rows = [(" ".join(tiny.WORDS[i % 7 : i % 7 + 3 + i % 4]) + f" w{i}", i % 3) for i in range(EXAMPLES)]
    for file, label in (("train.csv", int), ("tickets.csv", LABELS.__getitem__)):
        with (tmp_path / file).open("w", newline="") as out:
            csv.writer(out).writerows([("text", "label"), *((text, label(kind)) for text, kind in rows)])
    definition = "name: tickets\ncolumns: text\nlabels: [billing, bug, praise]\nfiles: {train: tickets.csv}\n"
    (tmp_path / "tickets.yaml").write_text(definition)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    for state in (AcceleratorState, GradientState):
        state._reset_state()
    torch.manual_seed(1)
    return tmp_path


class Witness:
    """Sees each step of DPS: the batches before it, what is masked and clipped, what the step moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[dict[str, Tensor]] = []
        self.steps: list[tuple[float, list[dict[str, Tensor]]]] = []  # learning rate, batches
        self.norms: list[float] = []
        self.masked = 0
        begin, prepare, after = DPSDenseAttachment.set_up, Attachment._prepare, Attachment._after

        def begun(attachment: DPSDenseAttachment) -> None:
            self.method, self.max_steps = attachment.method, attachment.max_steps
            self.initial, self.seed = tiny.snapshot(attachment.model), torch.initial_seed()
            attachment.model.register_forward_pre_hook(self._passes, with_kwargs=True)
            begin(attachment)

        def prepared(attachment: Attachment, optimizer: Any) -> None:
            prepare(attachment, optimizer)
            if isinstance(attachment, DPSDenseAttachment):
                self._about_to_step(attachment)

        def stepped(attachment: Attachment, *args: Any) -> None:
            after(attachment, *args)
            if isinstance(attachment, DPSDenseAttachment):
                self._stepped(attachment)

        monkeypatch.setattr(DPSDenseAttachment, "set_up", begun)
        monkeypatch.setattr(Attachment, "_prepare", prepared)
        monkeypatch.setattr(Attachment, "_after", stepped)

    def _passes(self, model: nn.Module, args: Any, inputs: dict[str, Tensor]) -> None:
        if model.training:
            self.seen.append({name: inputs[name].clone() for name in INPUTS if name in inputs})

    def _about_to_step(self, attachment: DPSDenseAttachment) -> None:
        groups = attachment.optimizer.param_groups
        grads = [p.grad for group in groups for p in group["params"] if p.grad is not None]
        self.norms.append(float(nn.utils.get_total_norm(grads)))
        self.steps.append((groups[0]["lr"], self.seen))
        self.seen, self.held = [], list[tuple[WeightState, Tensor, Tensor]]()
        if attachment.schedule.stage(attachment.steps + 1) == 2:
            for weight in attachment.weights:
                mask, grad = weight.active, weight.covered.parameter.grad
                assert mask is not None
                assert grad is not None
                assert mask.sum() == math.ceil(round(mask.numel() * attachment.ratio, 6))
                assert not grad[~mask].any()
                assert grad[mask].any()
                self.held.append((weight, mask, weight.value.clone()))

    def _stepped(self, attachment: DPSDenseAttachment) -> None:
        self.final = tiny.snapshot(attachment.model)
        self.masked += bool(self.held)
        for weight, mask, before in self.held if self.method.freeze == "update" else ():
            assert torch.equal(weight.value[~mask], before[~mask])
            assert not torch.equal(weight.value[mask], before[mask])


def replayed(witness: Witness) -> dict[str, Tensor]:
    """What a plain loop comes to, from the same weights, over the same batches, at the same rates."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        "bert-base-cased", num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    ).train()
    model.load_state_dict(witness.initial)
    optimizer = torch.optim.AdamW(model.parameters())
    torch.manual_seed(witness.seed)
    witness.method.attach(model, optimizer, witness.max_steps, max_grad_norm=1.0)
    for rate, batches in list(witness.steps):
        optimizer.param_groups[0]["lr"] = rate
        for batch in batches:
            (model(**batch).loss / len(batches)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return tiny.snapshot(model)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("page", [LOOP, *RESUMED])
def test_dps_works_there_as_in_a_plain_loop(
    page: str, variant: str, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = Witness(monkeypatch)
    run(page, (ON_PAGE, VARIANTS[variant]), names=run(DATA))
    assert len(witness.steps) == witness.max_steps == STEPS
    assert witness.masked == STEPS // 2
    assert max(witness.norms) == pytest.approx(1.0, rel=1e-4)
    trained = witness.final
    assert tiny.same(replayed(witness), trained)


@pytest.mark.parametrize("page", RESUMED)
def test_a_checkpoint_goes_on_in_the_middle_of_a_stage(
    page: str, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always, again = RESUMED[page]
    witness = Witness(monkeypatch)
    run(page, (ON_PAGE, MIX), always, names=run(DATA))
    through, witness.steps = witness.final, []
    torch.manual_seed(2)
    run(page, (ON_PAGE, MIX), always, again, names=run(DATA))
    assert len(witness.steps) == STEPS - 8
    assert tiny.same(witness.final, through)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_cell_that_runs_twice_trains_as_a_plain_loop_does(
    variant: str, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = run(DATA)
    witness = Witness(monkeypatch)
    for _ in range(2):
        witness.steps, witness.masked = [], 0
        run(LOOP, (ON_PAGE, VARIANTS[variant]), names=names)
        names["model"].train()
        assert len(witness.steps) == STEPS
        trained = witness.final
        assert tiny.same(replayed(witness), trained)


REMAINDERS = {  # a page, what makes it accumulate three batches, the optimizer steps that it takes then
    "trainer": ("= 3, 16, 1", "= 3, 16, 3", 9),
    "accelerate": ("= 3, 2", "= 3, 3", 18),
    "lightning": ("max_epochs=3,", "max_epochs=3, accumulate_grad_batches=3,", 9),
}


@pytest.mark.parametrize("page", REMAINDERS)
def test_max_steps_of_a_page_is_right_where_the_last_group_of_batches_is_shorter(
    page: str, at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after, steps = REMAINDERS[page]
    witness = Witness(monkeypatch)
    run(page, (ON_PAGE, MIX), (before, after), names=run(DATA))
    assert len(witness.steps) == witness.max_steps == steps


def test_a_second_train_of_a_trainer_is_told_of(at_work: Path) -> None:
    with pytest.warns(UserWarning, match="step 25 is past max_steps=24: nothing is masked from here on"):
        run(
            "trainer",
            (ON_PAGE, MIX),
            ("trainer.train()", "trainer.train()\ntrainer.train()"),
            names=run(DATA),
        )


LIGHTNING = (("shuffle=True", "shuffle=False"), (ON_PAGE, MIX))
FIT = "trainer.fit(classifier, loader)"
LR_FIND = (
    "lightning.pytorch.tuner.Tuner(trainer).lr_find(classifier, loader, num_training=5, update_attr=False)"
)


def test_lr_find_before_fit_changes_nothing(at_work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finals = []
    for first in ("", f"{LR_FIND}\n"):
        torch.manual_seed(2)
        witness = Witness(monkeypatch)
        names = run("lightning", *LIGHTNING, (FIT, f"{first}torch.manual_seed(3)\n{FIT}"), names=run(DATA))
        finals.append(witness.final)
        assert all(type(p) is nn.Parameter for p in names["model"].parameters())
    assert tiny.same(*finals)


def test_fit_goes_on_in_the_same_process_after_an_early_stop(
    at_work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finals = []
    stopped = f"""
class Stop(lightning.Callback):
    def on_train_epoch_end(self, trainer, module):
        trainer.should_stop = True


lightning.Trainer(
    max_epochs=3, accelerator="auto", logger=False, callbacks=[keep, Stop()]
).fit(classifier, loader)
{FIT.replace(")", ', ckpt_path="checkpoints/epoch=0-step=8.ckpt")')}"""
    for how in (FIT, stopped):
        shutil.rmtree(at_work / "checkpoints", ignore_errors=True)
        torch.manual_seed(2)
        witness = Witness(monkeypatch)
        run("lightning", *LIGHTNING, (FIT, how), names=run(DATA))
        finals.append(witness.final)
    assert tiny.same(*finals)


def test_one_whole_run_and_its_predictions(at_work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = run(FINETUNE)
    assert names["result"].outcome == "completed"
    assert names["result"].selected_share == pytest.approx(0.7, abs=0.02)
    said = capsys.readouterr().out
    assert "completed {'macro_f1': " in said
    assert re.search(r"\{'label': '(billing|bug|praise)', 'probabilities': ", said)


def test_what_is_wrapped_and_what_sleeps_is_refused(at_work: Path) -> None:
    from accelerate import Accelerator

    import dps

    model = tiny.bert()
    optimizer = torch.optim.AdamW(model.parameters())
    wrapped = Accelerator().prepare(optimizer)
    with pytest.raises(ValueError, match="attach: AcceleratedOptimizer wraps an optimizer"):
        dps.DPSDense().attach(model, wrapped, max_steps=STEPS)
    dps.DPSMix(update_ratio=0.25).attach(model.eval(), optimizer, max_steps=STEPS)
    (batch,) = tiny.batches(1)
    model(**batch).loss.backward()
    with pytest.raises(
        ValueError, match=r"dps-mix needs the model in training mode, .*; call model.train\(\)"
    ):
        optimizer.step()
    model.train()
    optimizer.zero_grad()
    model(**batch).loss.backward()
    optimizer.step()


def test_the_site_is_built_without_a_warning_and_asks_nobody(tmp_path: Path) -> None:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(tmp_path)))
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(?:https?:)?//", text), page
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is not None:  # the search works without a server
        address = f"{(tmp_path / 'index.html').as_uri()}?q=collapsed"
        options = (
            f"--headless=new --no-sandbox --disable-dev-shm-usage --user-data-dir={tmp_path / 'profile'}"
        )
        words = [browser, *options.split(), "--virtual-time-budget=30000", "--dump-dom", address]
        done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=True)
        assert re.search(r"\d+ matching documents", done.stdout)
