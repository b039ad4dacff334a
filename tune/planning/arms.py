"""Arms of a plan: what each trains and searches. What several arms have in common is looked at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace

from dps.errors import InputError, suggest_name
from dps.methods import METHODS
from dps.training.config import TRAINING_PARAMETERS
from tune.core.arm_definition import ARM_OPTIONS, TRAIN_FILE, ArmDefinition
from tune.core.options import CommonOptions, read_alternatives
from tune.core.parsing import change_options
from tune.core.space import SearchSpace
from tune.planning.arm import Arm
from tune.planning.arm_spaces import build_arm_space, fix_space
from tune.planning.cluster import Cluster, choose_precision
from tune.planning.estimate import average_speeds
from tune.planning.inputs import USUAL_EPOCHS, resolve_inputs
from tune.planning.models import (
    choose_epochs,
    join_models,
    locate_models,
    preview_model,
    rename_models,
)
from tune.planning.space_options import (
    check_methods_and_sampler,
    refuse_regression,
    refuse_shared_layers,
)

NO_SPACE = SearchSpace((), {}, {})
_INPUT_KEYS = (*ARM_OPTIONS, *TRAINING_PARAMETERS, TRAIN_FILE)  # by which arms are looked at together


def plan_arms(options: CommonOptions, cluster: Cluster, gpus: float) -> tuple[CommonOptions, dict[str, Arm]]:
    """Plan every arm that the options define, and the baselines of a search. Returns the options, with the
    epochs that were chosen, and the arms.

    Raises InputError for data, models and values that cannot be used, and for arms that are not evaluated on
    the same examples.
    """
    definitions = options.arm_definitions
    groups: dict[str, list[str]] = {}
    for name, definition in definitions.items():
        with _name_arm(options, name):
            _check_keys(definition)
            check_methods_and_sampler(definition.methods, options.sampler)
        decisive = {key: definition.named[key] for key in definition.named if key in _INPUT_KEYS}
        groups.setdefault(repr(sorted(decisive.items(), key=str)), []).append(name)
    planned: dict[str, Arm] = {}
    for names in groups.values():
        group = {name: definitions[name] for name in names}
        with _name_arm(options, names[0]):
            chosen, found = _plan_group(options, group, cluster, gpus)
            planned |= found
    arms = {name: planned[name] for name in (*definitions, *planned)}  # baselines last
    _check_evaluation(arms)
    return options.copy_with(epochs=options.epochs or USUAL_EPOCHS) if options.arms else chosen, arms


@contextmanager
def _name_arm(options: CommonOptions, name: str) -> Iterator[None]:
    """Let an error name the arm that it is of."""
    try:
        yield
    except InputError as error:
        if not options.arms or str(error).startswith("--arms"):
            raise
        raise InputError(f"--arms: {name}: {str(error).removeprefix('--')}") from None


def _check_keys(definition: ArmDefinition) -> None:
    """Raise InputError for a method that there is none of, and for what no arm can name."""
    if not definition.named:
        return
    for method in definition.methods:
        if method not in METHODS:
            raise InputError(f"method: there is no method {method!r}; {suggest_name(method, METHODS)}")
    own = {each.name for method in definition.methods for each in fields(METHODS[method])}
    known = {"method", "learning_rate", *_INPUT_KEYS, *own}
    if unknown := [key for key in definition.named if key not in known]:
        raise InputError(f"{unknown[0]}: an arm cannot name it; {suggest_name(unknown[0], sorted(known))}")
    for key in ARM_OPTIONS:
        if key in definition.space and key not in ("model", *TRAINING_PARAMETERS):
            raise InputError(f"{key}: takes one value, but got {definition.named[key]!r}; make more arms")


def _plan_group(
    options: CommonOptions, group: Mapping[str, ArmDefinition], cluster: Cluster, gpus: float
) -> tuple[CommonOptions, dict[str, Arm]]:
    """Plan arms whose runs read and do the same, but for method and hyper-parameters. Returns their options
    too."""
    first = next(iter(group.values()))
    shared = {key: value for key, value in options.space.items() if key not in first.options}
    decisive = {key: value for key, value in first.space.items() if key in _INPUT_KEYS}
    own = change_options(options, {**first.options, "space": shared | decisive})
    if "epochs" in first.named and own.max_steps is not None:
        raise InputError("epochs: has no effect beside max_steps; leave one of them out")
    folders = locate_models(own)
    inputs = resolve_inputs(own, cluster, [*folders.values()], first.train_file)
    own = choose_epochs(own, inputs)
    own.check_scale(inputs.task.metric)
    methods = tuple(dict.fromkeys(method for each in group.values() for method in each.methods))
    refuse_regression(methods, inputs.task)
    refuse_regression(own.baseline_methods, inputs.task, "--baseline")
    for method in (*methods, *own.baseline_methods) if own.shard else ():
        METHODS[method].require_shardable()
    precision, precision_note = choose_precision(own, cluster, gpus)
    parts = read_alternatives(own.space, "model").values() if folders else [{}]
    models = {
        label: preview_model(own, replace(inputs, model=folder), methods, gpus, precision, part)
        for (label, folder), part in zip((folders or {"": inputs.model}).items(), parts, strict=True)
    }
    for folder in folders.values() or (inputs.model,):
        layers, blocks = folder.read_dimensions()[0], folder.count_blocks()
        refuse_shared_layers(methods, layers, blocks)
        refuse_shared_layers(own.baseline_methods, layers, blocks, "--baseline")
    usual = next(iter(models.values()))
    arm = Arm(
        task=inputs.task,
        data=inputs.describe_data(),
        model=join_models(models),
        preview=usual.preview,
        settings=usual.settings,
        speed=average_speeds([model.speed for model in models.values()]),
        space=NO_SPACE,
        model_parameters=max(model.size.parameters for model in models.values()),
        precision_note=precision_note,
        models=models if folders else {},
        given=own.tune == "none",
    )
    arms = {}
    for name, definition in group.items():
        named = {key: value for key, value in own.space.items() if key not in definition.named}
        with _name_arm(options, name):
            domains = rename_models(named | definition.space, folders)
            space = build_arm_space(own, definition.methods, models, domains)
            arms[name] = replace(arm, space=fix_space(space) if arm.given else space, named=definition.named)
    spaces = {method: arms[""].space.for_baseline(method) for method in own.baseline_methods}
    return own, arms | {method: replace(arm, space=space) for method, space in spaces.items()}


def _check_evaluation(arms: Mapping[str, Arm]) -> None:
    """Raise InputError unless all arms are evaluated on the same examples, with the same labels."""
    (name, first), *others = arms.items()
    for other, arm in others:
        ours, theirs = (
            {key: value for key, value in each.preview.fingerprints.items() if key != "train"}
            for each in (first, arm)
        )
        if arm.task.labels != first.task.labels:
            raise InputError(f"--arms: {other}: its labels are not those of {name}; compare on one task")
        if different := [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]:
            place = first.task.data_location
            split_off = place is not None and place.get_place("dev") is None
            remedy = (
                f"it is split off train; name a dev file in {place.definition}"
                if split_off and place is not None
                else "arms are compared on the same evaluation set; give them the same"
            )
            raise InputError(
                f"--arms: {other}: its {different[0]} has other examples than that of {name}; {remedy}"
            )
