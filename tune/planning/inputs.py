"""Inputs of a search: which data, model and evaluation sets its options mean, and what "auto" takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dps.errors import InputError
from dps.hub import is_hub_reachable
from dps.models import USUAL_TOKENS, ModelFolder, locate_model
from dps.sources import Source, open_data_source
from dps.sources.task_files import TaskSource
from dps.tasks.registry import TASKS, get_task
from dps.tasks.task import Task
from dps.tasks.transfer import TRANSFER_TARGETS, check_transfer, get_transfer_target
from tune.core.options import CommonOptions
from tune.core.run import RunSettings
from tune.planning.cluster import Cluster

PAPER_MODEL = "bert-large-cased"
USUAL_EPOCHS = 4.0


@dataclass(frozen=True)
class ResolvedInput:
    """Resolved data or model: source, name, fingerprint, a note for the plan; of a model, the fingerprint of
    its tokenizer too."""

    source: str
    name: str
    fingerprint: str
    note: str
    tokenizer: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it as search.json and compare.json store it."""
        return {"source": self.source, "name": self.name, "fingerprint": self.fingerprint}


@dataclass(frozen=True)
class SearchInputs:
    """The data and the model of a search. data_note, model_note: lines that explain the choices."""

    task: Task
    source: Source
    data_note: str
    model: ModelFolder
    model_note: str

    def describe_data(self) -> ResolvedInput:
        """Return the data with its fingerprint, for which all of it is read."""
        source = self.source
        return ResolvedInput(source.kind, source.name, source.fingerprint(self.task), self.data_note)

    def describe_model(self) -> ResolvedInput:
        """Return the model with its fingerprint, for which all of it is read."""
        return describe_model(self.model, self.model_note)

    def build_settings(self, options: CommonOptions, precision: str) -> RunSettings:
        """Return the settings of every run. Raises InputError for --transfer and --probe that cannot be."""
        task, source, model = self.task, self.source, self.model
        return RunSettings(
            task=task.name if task.name in TASKS else task,
            data=str(Path(source.name).resolve()) if source.kind == "folder" else source.kind,
            model=str(model.path) if model.kind == "folder" else model.name,
            epochs=options.epochs or USUAL_EPOCHS,
            max_steps=options.max_steps,
            batch_size=options.batch_size,
            max_length=options.max_length or USUAL_TOKENS,  # until the plan has measured the texts
            train_size=options.train_size,
            precision=precision,
            evaluations=options.evaluations,
            select_on=options.select_on,
            transfer=_resolve_transfer(options.transfer, task),
            probe=_check_probe_task(options.probe),
            loss=options.loss,
            shots=options.shot_count,
            threshold=options.threshold,
            patience=options.patience,
        )


def describe_model(model: ModelFolder, note: str) -> ResolvedInput:
    """Return a model with its fingerprint, for which all of it is read. note: for the plan."""
    return ResolvedInput(model.kind, model.name, model.fingerprint(), note, model.fingerprint_tokenizer())


def resolve_inputs(
    options: CommonOptions,
    cluster: Cluster,
    models: Sequence[ModelFolder] = (),
    train_file: str | None = None,
) -> SearchInputs:
    """Find task, data and model. models: among which the search chooses, in place of --model; train_file: in
    place of the task's own. Raises InputError for what is not there."""
    task = get_task(options.task)
    if train_file is not None:
        task = _replace_train_file(task, options.data, train_file)
    model = (models[0], "searched") if models else _choose_model(options.model, cluster)
    return SearchInputs(task, *_choose_data_source(options.data, task), *model)


def _replace_train_file(task: Task, data: str, file: str) -> Task:
    place = task.data_location
    if place is None or place.hub is not None or data not in ("auto", "task"):
        raise InputError(
            f"files.train: {task.name} reads no files of its own here; give --task a YAML file that names "
            f"files: {{train: ..., dev: ...}}"
        )
    splits = tuple((split, file if split == "train" else path) for split, path in place.splits)
    return replace(task, data_location=replace(place, splits=splits))


def _choose_data_source(data: str, task: Task) -> tuple[Source, str]:
    """Return (source, the line that explains the choice)."""
    if data == "task" or (data == "auto" and task.name not in TASKS):
        files = TaskSource(task)
        return files, files.description
    if data != "auto":
        source = open_data_source(data)
        return source, f"{source.name} (named)"
    if is_hub_reachable():
        source = open_data_source("hub")
        return source, f"{source.name} (auto: the hub answers)"
    return open_data_source("builtin"), "built-in generator (auto: no hub answers)"


def _choose_model(model: str, cluster: Cluster) -> tuple[ModelFolder, str]:
    """Return (folder, the line that explains the choice)."""
    if model != "auto":
        return locate_model(model), f"{model} (named)"
    if not cluster.gpus:
        return locate_model("builtin"), "built-in MiniLM encoder (auto: no GPU)"
    if is_hub_reachable():
        return locate_model(PAPER_MODEL), f"{PAPER_MODEL} (auto: GPUs, and the hub answers)"
    return locate_model("builtin"), "built-in MiniLM encoder (auto: no hub answers)"


def _resolve_transfer(transfer: str | None, task: Task) -> tuple[str, ...]:
    """Return the --transfer evaluation sets after checking that each can be mapped."""
    if not transfer:
        return ()
    names = tuple(name.strip() for name in transfer.split(","))
    if names == ("paper",):
        names = TRANSFER_TARGETS.get(task.name, ())
        if not names:
            raise InputError(f"--transfer: the paper tests no model of {task.name} on other tasks; name them")
    for name in names:
        check_transfer(task, get_transfer_target(name))
    return names


def _check_probe_task(probe: str | None) -> str | None:
    if probe is not None and get_task(probe).multi_label:
        raise InputError(f"--probe: {probe} has several labels an example; give a task of one")
    return probe
