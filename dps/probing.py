"""Measure representation collapse: how far fine-tuning moved the features, and how useful they still are.

Compares pre-trained and fine-tuned features by layer, and scores a linear probe for a second task on the
frozen features of the last layer, before and after fine-tuning.

example:
    python -m dps.probing --model runs/cola-20261123-224540/best --task cola --probe-task rte
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence

from dps.command import CommandParser, parse_path, run_command
from dps.errors import InputError
from dps.models import load_finetuned_model
from dps.tasks.registry import GLUE_TASKS, get_task
from dps.tasks.task import Task
from dps.training.collapse import measure_collapse
from dps.training.config import FineTuneConfig
from dps.training.inputs import load_measured_inputs


def format_collapse(figures: dict[str, float], probe_task: Task) -> str:
    """Format the figures of `measure_collapse`: a line a layer, then the probe."""
    lines = ["layer     cka  distance"]
    for i in range(sum(name.startswith("cka_layer_") for name in figures)):
        lines.append(f"{i:5}  {figures[f'cka_layer_{i}']:.4f}  {figures[f'distance_layer_{i}']:8.4f}")
    name = f"probe_{probe_task.name}_{probe_task.metric}"
    lines += ["", f"probe on the last layer: {probe_task.name} ({probe_task.metric})"]
    lines += [f"  pre-trained  {figures[name + '_pretrained']:7.4f}", f"  fine-tuned   {figures[name]:7.4f}"]
    return "\n".join(lines)


def _make_parser() -> CommandParser:
    parser = CommandParser("python -m dps.probing", __doc__)
    add = parser.add_argument
    add(
        "--model",
        type=parse_path,
        required=True,
        metavar="DIR",
        help="folder of the fine-tuned model, as save_pretrained writes it",
    )
    add(
        "--base",
        type=parse_path,
        default="builtin",
        metavar="builtin|NAME|DIR",
        help="model that it was fine-tuned from (default: builtin)",
    )
    add(
        "--task",
        type=parse_path,
        required=True,
        metavar="TASK",
        help=f"task that it was fine-tuned on: {', '.join(GLUE_TASKS)} or a YAML file",
    )
    add(
        "--data",
        type=parse_path,
        default="builtin",
        metavar="builtin|hub|DIR",
        help="data of both tasks (default: builtin)",
    )
    add("--probe-task", type=parse_path, required=True, metavar="TASK", help="task of the linear probe")
    add(
        "--max-length",
        type=int,
        metavar="N",
        help="tokens at which an example is cut (default: 128, or as many as the longest text needs, at most "
        "512 and what the model can read)",
    )
    add("--json", action="store_true", help="print the figures as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, or 2 for wrong options or input."""
    return run_command(_run_probing, _make_parser(), argv)


def _run_probing(options: Namespace) -> None:
    if options.max_length is not None and options.max_length < 1:
        raise InputError(f"--max-length must be above 0, but got {options.max_length}")
    task, probe_task = get_task(options.task), get_task(options.probe_task)
    config = FineTuneConfig(
        task, data=options.data, model=options.base, probe=options.probe_task, max_length=options.max_length
    )
    (base, data), lengths = load_measured_inputs(config)
    model, _ = load_finetuned_model(options.model, base.tokenizer)
    if lengths.cut:
        print(f"warning: texts are {lengths}", file=sys.stderr)
    figures = measure_collapse(base, model, data, data.for_task(probe_task))
    print(json.dumps(figures, indent=2) if options.json else format_collapse(figures, probe_task))


if __name__ == "__main__":
    sys.exit(main())
