"""What DPS costs a training step, beside vanilla AdamW: the whole step, the optimizer's part, a selection,
memory.

    python benchmarks/step.py                                                         # MiniLM on the CPU
    python benchmarks/step.py --device cuda --model bert-large --batch-size 32 --length 64 --precision bf16

Prints Markdown. All arms train side by side in one process, a step each in turns whose order changes, on the
same random batches, without dropout, with clipping at norm 1. A ratio is the median over the turns of (arm /
vanilla in the same turn), its spread the quartiles. Weights are random: what a step costs does not depend on
them. The optimizer's part is clipping and step, with the method's hooks. A selection is the last step of
Stage I, with the mask made. Memory is what stays after a step and what a step needs at most, less vanilla's,
for each covered weight; on a CPU (where the allocator does not tell) only what the method keeps. Last, how
long a warm slot takes to have the built-in model as it was, for the next run.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from torch import Tensor, nn

from dps.coverage import find_covered_weights
from dps.methods import DPSDense, DPSMix, Method, Vanilla, attachment_of
from dps.models import PretrainedEncoder, locate_model
from dps.tasks import registry
from dps.training import optim

SIZES = {  # layers, hidden, heads, intermediate, vocabulary
    "minilm": (6, 384, 12, 1536, 30522),
    "bert-base": (12, 768, 12, 3072, 28996),
    "bert-large": (24, 1024, 16, 4096, 28996),
}
ARMS: dict[str, Method] = {
    "vanilla": Vanilla(),
    "dps-dense": DPSDense(),
    "dps-dense, freeze=update": DPSDense(freeze="update"),
    "dps-mix": DPSMix(),
}
INTERVAL = 5  # steps of a stage
MIN_TURNS = 4 * INTERVAL
LABELS = ("Stage I", "selection", "Stage II")


def network(name: str) -> nn.Module:
    """A BERT classifier of this size with random weights, without dropout."""
    from transformers import BertConfig, BertForSequenceClassification

    layers, hidden, heads, intermediate, vocabulary = SIZES[name]
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    return BertForSequenceClassification(config)


class Arm:
    """A model, its optimizer and a method at work."""

    def __init__(self, method: Method, setting: argparse.Namespace) -> None:
        self.setting, self.device = setting, torch.device(setting.device)
        self.model = network(setting.model).to(self.device)
        self.optimizer = optim.make_adamw(self.model, 1e-5, 0.01)
        max_steps = 10_000 * INTERVAL
        if not isinstance(method, Vanilla):
            method = type(method)(**{**vars(method), "update_ratio": INTERVAL / max_steps})
        method.attach(self.model, self.optimizer, max_steps, max_grad_norm=1.0)
        found = attachment_of(self.optimizer)
        assert found is not None
        self.attachment: Any = found
        self.autocast, _ = optim.make_autocast_and_scaler(setting.precision, self.device)
        if setting.compile:
            self.model.compile(dynamic=True)

    def label(self) -> str:
        """Which kind of step comes next."""
        if not hasattr(self.attachment, "schedule"):
            return "step"
        schedule, step = self.attachment.schedule, self.attachment.steps + 1
        if schedule.stage(step) == 2:
            return "Stage II"
        return "selection" if schedule.starts_stage(step + 1) else "Stage I"

    def step(self, batch: dict[str, Tensor], mark: Any) -> tuple[str, Any, Any, Any]:
        """One step: (kind, mark before it, mark before the optimizer's part, mark after it)."""
        label, began = self.label(), mark()
        self.optimizer.zero_grad(set_to_none=True)
        self.attachment.backward(self.model, batch, autocast=self.autocast)
        between = mark()
        self.optimizer.step()
        return label, began, between, mark()

    def kept(self) -> int:
        """Bytes that the method keeps for the covered weights."""
        held = [
            value for weight in getattr(self.attachment, "weights", ()) for value in weight.state().values()
        ]
        return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held}.values())


def batches(setting: argparse.Namespace) -> Iterator[dict[str, Tensor]]:
    """Random token ids, already on the device."""
    generator = torch.Generator().manual_seed(1)
    shape, vocabulary = (setting.batch_size, setting.length), SIZES[setting.model][-1]
    made = [
        {
            "input_ids": torch.randint(1, vocabulary, shape, generator=generator),
            "attention_mask": torch.ones(shape, dtype=torch.int64),
            "labels": torch.randint(0, 2, shape[:1], generator=generator),
        }
        for _ in range(8)
    ]
    return itertools.cycle([{k: v.to(setting.device) for k, v in batch.items()} for batch in made])


@dataclass
class Times:
    """Seconds of one arm, in the order of the turns."""

    labels: list[str]
    whole: np.ndarray
    optimizer: np.ndarray


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def timed(setting: argparse.Namespace) -> dict[str, Times]:
    """Every arm, a step each in turns."""
    on_gpu = setting.device == "cuda"
    mark = _event if on_gpu else time.perf_counter
    between = (lambda a, b: a.elapsed_time(b) / 1e3) if on_gpu else (lambda a, b: b - a)
    arms, marks, source = (
        {name: Arm(m, setting) for name, m in ARMS.items()},
        defaultdict(list),
        batches(setting),
    )
    order = list(arms)
    for turn in range(setting.turns + INTERVAL):
        batch = next(source)
        for name in order:
            found = arms[name].step(batch, mark)
            if turn >= INTERVAL:  # warm by now
                marks[name].append(found)
        order = order[1:] + order[:1]
        if on_gpu:
            torch.cuda.synchronize()
    return {
        name: Times(
            [label for label, *_ in rows],
            np.array([between(a, c) for _, a, _, c in rows]),
            np.array([between(b, c) for _, _, b, c in rows]),
        )
        for name, rows in marks.items()
    }


def time_table(times: dict[str, Times]) -> list[str]:
    """Whole step and optimizer's part of each arm by stage, over vanilla's of the same turn."""
    base = times["vanilla"]
    lines = [
        f"vanilla: {1e3 * np.median(base.whole):.1f} ms a step, "
        f"{1e3 * np.median(base.optimizer):.1f} ms of them the optimizer's part\n",
        "| | step | turns | ms a step | whole step / vanilla | optimizer's part / vanilla |",
        "|---|---|---|---|---|---|",
    ]
    for name, arm in times.items():
        if name == "vanilla":
            continue
        for label in (*LABELS, "Stage I and II"):
            chosen = np.array(
                [found in label if " and " in label else found == label for found in arm.labels]
            )
            chosen |= np.array([" and " in label and found != "selection" for found in arm.labels])
            whole, part = (
                _spread(a[chosen] / b[chosen])
                for a, b in ((arm.whole, base.whole), (arm.optimizer, base.optimizer))
            )
            ms = 1e3 * np.median(arm.whole[chosen])
            lines.append(f"| {name} | {label} | {chosen.sum()} | {ms:.1f} | {whole} | {part} |")
    return lines


def _spread(ratios: np.ndarray) -> str:
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def memory_of(method: Method, setting: argparse.Namespace) -> dict[str, tuple[float, float, float]]:
    """Return, by kind of step, the most bytes kept by the method, allocated after it, needed within it."""
    found: dict[str, tuple[float, float, float]] = {}
    on_gpu = setting.device == "cuda"
    gc.collect()  # an arm and its hooks hold one another
    arm, source = Arm(method, setting), batches(setting)
    for _ in range(4 * INTERVAL):
        label = arm.label()
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        arm.step(next(source), time.perf_counter)
        seen = (
            float(arm.kept()),
            float(torch.cuda.memory_allocated()) if on_gpu else 0.0,
            float(torch.cuda.max_memory_allocated()) if on_gpu else 0.0,
        )
        if arm.attachment.steps > 2 * INTERVAL or not hasattr(arm.attachment, "schedule"):
            found[label] = tuple(map(max, seen, found.get(label, seen)))  # type: ignore[assignment]
    return found


def memory_table(setting: argparse.Namespace) -> list[str]:
    """Bytes above vanilla for each covered weight."""
    covered = sum(w.parameter.numel() for w in find_covered_weights(network(setting.model)))
    base = memory_of(Vanilla(), setting)["step"]
    lines = [
        f"bytes above vanilla for each of {covered / 1e6:.1f} M covered weights\n",
        "| | step | kept by the method | allocated after it | needed within it |",
        "|---|---|---|---|---|",
    ]
    for name, method in ARMS.items():
        for label, values in memory_of(method, setting).items() if name != "vanilla" else ():
            kept, after, within = ((v - b) / covered for v, b in zip(values, base, strict=True))
            gpu = (f"{after:.2f}", f"{within:.2f}") if setting.device == "cuda" else ("-", "-")
            lines.append(f"| {name} | {label} | {kept:.2f} | {gpu[0]} | {gpu[1]} |")
    return lines


def resetting(times: int = 9) -> str:
    """How long the built-in model takes to be as it was, in words; medians."""
    base = PretrainedEncoder(locate_model("builtin"), registry.get_task("cola"))
    seconds: dict[str, list[float]] = {"at once": [], "copied beforehand": []}
    for seed in range(times):
        for how, each in seconds.items():
            if how == "copied beforehand":
                base.prepare_copy()
            began = time.perf_counter()
            base.build(seed, 0.1)
            each.append(time.perf_counter() - began)
    told = ", ".join(f"{1e3 * np.median(each):.0f} ms {how}" for how, each in seconds.items())
    return f"the built-in model for the next run of a slot: {told}"


def hardware(device: str) -> str:
    """What it runs on."""
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--model", choices=tuple(SIZES), default="minilm")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--length", type=int, default=16, help="tokens of each example")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--compile", action="store_true", help="by torch.compile, which takes a minute")
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1, help="on a CPU")
    setting = parser.parse_args()
    if setting.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch sees no GPU here")
    if setting.turns < MIN_TURNS:
        parser.error(f"--turns: must be at least {MIN_TURNS}, two whole cycles of both stages")
    torch.set_num_threads(setting.threads)
    print(
        f"{setting.model}, batches of {setting.batch_size} x {setting.length} tokens, {setting.precision}, "
        f"{hardware(setting.device)}\n"
    )
    print("\n".join(time_table(timed(setting))), flush=True)
    print("\n" + "\n".join(memory_table(setting)), flush=True)
    print(f"\n{resetting()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
