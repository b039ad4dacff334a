"""The model card of best/: README.md, from what search.json holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from dps import own, tasks
from dps.task import Task
from tune import report
from tune.tables import code

Found = dict[str, Any]


def write(found: Found, seed: int, folder: Path) -> None:
    """README.md of the model in `folder`, which the winner's run of this seed left."""
    (folder / "README.md").write_text(text(found, seed), encoding="utf-8")


def text(found: Found, seed: int) -> str:
    """The card as Markdown. Names of tasks, columns and labels stand in code spans: they stay text."""
    task = tasks.described(found["plan"]["settings"]["task"])
    parts = [
        _head(found, task),
        f"# {code(task.name)}: a fine-tuned model\n\n{plain(found['sentence'])}",
        "## Use\n\n" + _use(task, found["plan"]["settings"]["max_length"]),
        "## Task\n\n" + _task(task),
        "## Data\n\n" + _data(found, task),
        "## Scores\n\n" + _scores(found, seed),
        "## How it was found\n\n" + _found(found, seed),
        "## Limits\n\n" + _limits(found, task),
    ]
    return "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    """A text as it is, in one line: nothing in it is Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>#|&~!])", r"\\\1", " ".join(text.split()))


def _head(found: Found, task: Task) -> str:
    """What the hub reads of a card."""
    said: Found = {"library_name": "transformers", "pipeline_tag": "text-classification"}
    if found["model"]["source"] == "hub":
        said["base_model"] = found["model"]["name"]
    said["tags"] = ["dps-tune", own.kind_of(task)]
    return f"---\n{yaml.safe_dump(said, sort_keys=False)}---"


def _use(task: Task, max_length: int) -> str:
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


def _task(task: Task) -> str:
    columns = ", ".join(map(code, task.columns))
    lines = [f"- reads: {columns}"]
    if task.is_regression:
        low_high = f", from {task.score_range[0]:g} to {task.score_range[1]:g}" if task.score_range else ""
        lines.append(f"- says: a number, {code(task.label)}{low_high}")
    elif task.multi_label:
        names = ", ".join(map(code, task.labels))
        lines.append(f"- says: any number of {len(task.labels)} labels: {names}; those above 0.5")
    else:
        lines.append(f"- says: one of {len(task.labels)} classes: {', '.join(map(code, task.labels))}")
    lines.append(f"- scored by: {', '.join(map(code, task.metrics))}; the first one ranked configurations")
    return "\n".join(lines)


def _data(found: Found, task: Task) -> str:
    data, examples = found["data"], found["plan"]["examples"]
    counts = ", ".join(f"{count:,} {split}" for split, count in examples.items())
    name = Path(data["name"]).name
    return (
        f"{code(name)} ({data['source']}), fingerprint {code(data['fingerprint'][:16])}: {counts} examples."
    )


def _scores(found: Found, seed: int) -> str:
    """Every fresh seed of the winner, and the intervals of their mean."""
    scores = found["confirmation"]["scores"]
    lines = [f"On dev, after training on all training data, {code(found['metric'])}:", ""]
    lines += ["| seed | score |", "|---|---|"]
    for each, score in sorted((int(each), score) for each, score in scores.items()):
        lines.append(f"| {each}{' (this model)' if each == seed else ''} | {score:.4f} |")
    lines += [f"| mean | {found['confirmation']['mean']:.4f} |", ""]
    lines += [plain(line) for line in report.sure_lines(found)]
    if found["baseline"]:
        lines.append(plain(f"Compared with ordinary fine-tuning: it is {found['baseline']['verdict']}."))
    return "\n".join(lines).rstrip()


def _found(found: Found, seed: int) -> str:
    plan, settings = found["plan"], found["plan"]["settings"]
    configuration = "\n".join(
        f"- {code(name)}: {code(json.dumps(value))}"
        for name, value in found["winner"]["configuration"].items()
    )
    tried, raced = len(found["trials"]), len(found["race"])
    race = f", {raced} of them raced on further seeds" if raced else ""
    ranked = "a held-out slice of the training data" if settings["select_on"] == "holdout" else "dev"
    versions = ", ".join(f"{name} {version}" for name, version in found["provenance"]["packages"].items())
    commit = found["provenance"]["git_commit"] or "unknown"
    return f"""A search by dps-tune tried {tried} configurations{race}, ranked on {ranked}. The winner:

{configuration}

fine-tuned from {code(Path(found["model"]["name"]).name)}, {plan["confirm_steps"]:,} steps of \
{settings["batch_size"]} examples, seed {seed}. Of {len(found["confirmation"]["scores"])} fresh seeds \
this is the one with the median score, not the luckiest.

Made with {plain(versions)}; commit {code(commit)}."""


def _limits(found: Found, task: Task) -> str:
    train = found["plan"]["examples"]["train"]
    said = [f"It has seen {train:,} training examples; texts of another kind than these may surprise it."]
    said.append("The scores are of one dev set: other texts may score lower.")
    if task.is_regression:
        said.append("A value may lie outside the range of the labels; nothing cuts it.")
    elif task.multi_label:
        said.append("Its probabilities, one a label, were not calibrated: do not read 0.9 as nine in ten.")
        said.append(f"It knows these {len(task.labels)} labels alone, and may say none of them.")
    else:
        said.append(
            "Its probabilities are a softmax that was not calibrated: do not read 0.9 as nine in ten."
        )
        said.append(f"It always chooses one of the {len(task.labels)} classes, whatever it is given.")
    said.append(f"Whatever stands after {found['plan']['settings']['max_length']} tokens is not read.")
    return "\n".join(f"- {line}" for line in said)
