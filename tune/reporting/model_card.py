"""The model card of best/: README.md, from what search.json holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from dps.paths import write_text_file
from dps.tasks.definition import get_task_kind
from dps.tasks.registry import restore_task
from dps.tasks.task import EVEN_THRESHOLD, Task
from dps.text import sanitise_line
from dps.wording import format_count
from tune.core.wording import describe_generated_data, format_code_span
from tune.records.replicates import find_threshold
from tune.records.search_document import SearchDocument
from tune.reporting.summary import format_certainty_lines

_LOSS_WORDS = {
    "balanced": " with the balanced loss (every class counts the same)",
    "focal": " with the focal loss (what is hard counts more)",
}


def write_model_card(document: SearchDocument, seed: int, folder: Path) -> None:
    """Write README.md of the model in `folder`, which the winner's run with this seed left."""
    write_text_file(folder / "README.md", render_model_card(document, seed))


def render_model_card(document: SearchDocument, seed: int) -> str:
    """Render the card as Markdown. Names of tasks, columns and labels are code spans: they stay text."""
    task = restore_task(document.plan.settings.task)
    task = task.with_threshold(find_threshold(document.confirmation_runs))
    parts = [
        _front_matter(document, task),
        f"# {format_code_span(task.name)}: a fine-tuned model\n\n{escape_markdown(document.sentence)}",
        "## Use\n\n" + _usage_section(task, document.won_max_length),
        "## Task\n\n" + _task_section(task),
        "## Data\n\n" + _data_section(document, task),
        "## Scores\n\n" + _scores_section(document, seed),
        "## How it was found\n\n" + _search_section(document, seed),
        "## Limits\n\n" + _limits_section(document, task),
    ]
    return "\n\n".join(parts) + "\n"


def escape_markdown(text: str) -> str:
    """Escape a text and put it in one line: nothing in it is read as Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>#|&~!])", r"\\\1", sanitise_line(text))


def _front_matter(document: SearchDocument, task: Task) -> str:
    """Return what the hub reads of a card."""
    said: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-classification"}
    if document.won_model.source == "hub":
        said["base_model"] = document.won_model.name
    said["tags"] = ["dps-tune", get_task_kind(task)]
    return f"---\n{yaml.safe_dump(said, sort_keys=False)}---"


def _usage_section(task: Task, max_length: int) -> str:
    pair = len(task.columns) == 2
    example = '{"text": "...", "text_pair": "..."}' if pair else '"..."'
    every = ", top_k=None" if task.multi_label else ""
    asked = ' --text "..." --text2 "..."' if pair else ' --text "..."'
    return f"""```python
from transformers import pipeline

predict = pipeline("text-classification", model=FOLDER, truncation=True{every})
predict({example})
```

or `python -m dps.predict --model FOLDER{asked}`. Texts are cut at {max_length} tokens, as in training."""


def _task_section(task: Task) -> str:
    columns = ", ".join(map(format_code_span, task.columns))
    lines = [f"- input: {columns}"]
    if task.is_regression:
        low_high = f", from {task.score_range[0]:g} to {task.score_range[1]:g}" if task.score_range else ""
        lines.append(f"- output: a number, {format_code_span(task.label)}{low_high}")
    elif task.multi_label:
        names = ", ".join(map(format_code_span, task.labels))
        above = f"those with a probability above {task.threshold:.4g}"
        lines.append(f"- output: any number of {len(task.labels)} labels: {names}; {above}")
    else:
        lines.append(
            f"- output: one of {len(task.labels)} classes: {', '.join(map(format_code_span, task.labels))}"
        )
    if task.threshold != EVEN_THRESHOLD and not task.multi_label:
        lines.append(
            f"- threshold: {format_code_span(task.labels[1])} if its probability is above "
            f"{task.threshold:.4g}; `pipeline` uses 0.5"
        )
    lines.append(
        f"- scored by: {', '.join(map(format_code_span, task.metrics))}; the first one ranked configurations"
    )
    return "\n".join(lines)


def _data_section(document: SearchDocument, task: Task) -> str:
    data, examples = document.data, document.plan.examples
    counts = ", ".join(f"{count:,} {split}" for split, count in examples.items())
    name = Path(data.name).name
    generated = describe_generated_data(data.source, document.task)
    return (
        f"{format_code_span(name)} ({data.source}), fingerprint "
        f"{format_code_span(data.fingerprint[:16])}: {counts} examples."
        f"{f' {escape_markdown(generated)}' if generated else ''}"
    )


def _scores_section(document: SearchDocument, seed: int) -> str:
    """List the score of every fresh seed, and how sure their mean is."""
    assert document.confirmation is not None
    scores = document.confirmation.scores
    trained = document.plan.settings.confirmed_on
    lines = [f"On dev, after training on {trained}, {format_code_span(document.metric)}:", ""]
    lines += ["| seed | score |", "|---|---|"]
    for each, score in sorted(scores.items()):
        lines.append(f"| {each}{' (this model)' if each == seed else ''} | {score:.4f} |")
    lines.append(f"| mean | {document.mean:.4f} |")
    answers = document.evidence and document.evidence.answers
    if answers and answers.ensemble:
        lines.append(f"| ensemble of {answers.ensemble.runs} | {answers.ensemble.score:.4f} |")
    lines.append("")
    lines += [escape_markdown(line) for line in format_certainty_lines(document)]
    return "\n".join(lines).rstrip()


def _search_section(document: SearchDocument, seed: int) -> str:
    assert document.winner is not None
    assert document.confirmation is not None
    settings, values = document.plan.settings, document.winner.configuration
    batch_size = values.get("batch_size", settings.batch_size)
    run = next(run for run in document.confirmation_runs if run.seed == seed)
    values = values if run.alpha is None else {**values, "alpha": run.alpha}  # it may have been chosen
    configuration = "\n".join(
        f"- {format_code_span(name)}: {format_code_span(json.dumps(value))}" for name, value in values.items()
    )
    tried, raced = format_count(len(document.trials), "configuration"), len(document.race)
    race = f", {raced} of them raced on further seeds" if raced else ""
    ranked = "a held-out slice of the training data" if settings.select_on == "holdout" else "dev"
    versions = ", ".join(f"{name} {version}" for name, version in document.provenance.packages.items())
    commits = [document.provenance.git_commit or "unknown", *document.provenance.earlier_commits]
    scores = document.confirmation.scores
    median = sorted(scores.values())[(len(scores) - 1) // 2]
    which = "the one with the median score, not the luckiest"
    if scores.get(seed) != median:
        which = "the one that had the median score when there were fewer seeds"
    chosen = f"Of {len(scores)} fresh seeds this is {which}"
    if len(scores) == 1:
        chosen = "It is the only fresh seed"
    return f"""A search by dps-tune tried {tried}{race}, ranked on {ranked}. The winner:

{configuration}

fine-tuned from {format_code_span(Path(document.won_model.name).name)}{_LOSS_WORDS.get(settings.loss, "")}, \
{format_count(run.step, "step")} of {format_count(batch_size, "example")}, seed {seed}. {chosen}.

Made with {escape_markdown(versions)}; commit {", before it ".join(map(format_code_span, commits))}."""


def _limits_section(document: SearchDocument, task: Task) -> str:
    train = document.plan.examples["train"]
    said = [f"It has seen {train:,} training examples; expect less on texts of another kind."]
    said.append("The scores are of one dev set: other texts may score lower.")
    if task.is_regression:
        said.append("A value may lie outside the range of the labels; it is not clipped.")
    elif task.multi_label:
        said.append("Its probabilities, one per label, were not calibrated: do not read 0.9 as nine in ten.")
        said.append(f"It knows only these {len(task.labels)} labels, and may predict none of them.")
    else:
        said.append(
            "Its probabilities are a softmax that was not calibrated: do not read 0.9 as nine in ten."
        )
        said.append(f"It always predicts one of the {len(task.labels)} classes, whatever the text.")
    said.append(f"Anything after {document.won_max_length} tokens is not read.")
    return "\n".join(f"- {line}" for line in said)
