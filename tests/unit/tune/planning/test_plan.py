"""The identity of a search: what a resume must not change, and what it may."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from dps.errors import InputError
from dps.models import locate_model
from dps.ranges import Choice, Range
from dps.training.config import FineTuneConfig
from tests.unit.tune.helpers import FakeTune, make_record, restore_old_search
from tests.unit.tune.helpers import make_plan as make_test_plan
from tune import startup
from tune.console.plan import format_plan
from tune.core.job_config import make_fine_tune_config
from tune.core.options import CompareOptions, SearchOptions
from tune.core.run import Job, RunPurpose, RunSettings
from tune.core.wording import format_clock
from tune.planning.cluster import Cluster, Node
from tune.planning.plan import CHANGEABLE_OPTIONS, SEARCH_DECISIONS
from tune.planning.planner import make_plan
from tune.records.identity import describe_changes
from tune.records.ledger import Ledger
from tune.records.saved_options import load_resumed_options
from tune.strategy.arms import make_arms
from tune.strategy.budget import SlotCount

GRID = {"learning_rate": [1e-4], "selection_ratio": [0.5], "update_ratio": [0.1]}
HERE = Cluster(None, (Node(64.0, 0.0, 2.0**40),))
SETTING_OPTIONS = {field.name for field in fields(RunSettings)}
SPACE_OPTIONS = {"method", "freeze", "space"}  # stand in the identity as the search space
OTHER_VALUES: dict[str, Any] = {
    "epochs": 2.0,
    "max_steps": 7,
    "batch_size": 8,
    "max_length": 32,
    "train_size": 40,
    "precision": "bf16",
    "evaluations": 2,
    "select_on": "dev",
    "loss": "focal",
    "shots": 8,
    "threshold": 0.3,
    "patience": 2,
    "transfer": "cola",
    "probe": "cola",
    "seed": 1,
    "scheduler": "none",
    "sampler": "random",
    "method": "vanilla",
    "freeze": "update",
    "space": {"learning_rate": [1e-5, 2e-5]},
    "trials": 3,
    "confirm": 2,
    "finalists": 2,
    "race": 0,
    "baseline": "none",
    "time_budget": "1h",
    "target": 0.5,
    "max_concurrent": 1,
    "workers_per_trial": 2,
    "gradient_checkpointing": True,
    "cpus_per_worker": 2,
    "price": 1.0,
    "oom_retry": True,
    "step_timeout": "1m",
    "tracking_uri": "none",
    "experiment": "mine",
    "output": Path("elsewhere"),
    "quiet": True,
}


def identify(data: Path, model: Path, **options: Any) -> dict[str, object]:
    given = {"data": str(data), "model": str(model), "precision": "fp32", **options}
    return make_plan(SearchOptions(**given), HERE).get_identity("")


@pytest.mark.parametrize("option", OTHER_VALUES)
def test_an_option_of_the_identity_changes_it_and_another_does_not(
    option: str, tiny_cola: Path, tiny_model: Path
) -> None:
    before = identify(tiny_cola, tiny_model)
    changes = describe_changes(before, identify(tiny_cola, tiny_model, **{option: OTHER_VALUES[option]}))
    assert bool(changes) == (option not in CHANGEABLE_OPTIONS)


def test_every_option_either_may_change_on_a_resume_or_stands_in_the_identity() -> None:
    fixed = SETTING_OPTIONS | set(SEARCH_DECISIONS) | SPACE_OPTIONS
    assert fixed.isdisjoint(CHANGEABLE_OPTIONS)
    assert fixed | CHANGEABLE_OPTIONS == {*SearchOptions.model_fields, *CompareOptions.model_fields}
    assert fixed - OTHER_VALUES.keys() == {"task", "data", "model"}


def test_patience_says_what_it_holds_out_and_fresh_seeds_train_on_as_much_less(
    tiny_cola: Path, tiny_model: Path
) -> None:
    options = SearchOptions(data=str(tiny_cola), model=str(tiny_model), max_steps=None, epochs=4.0)
    usual, patient = (make_plan(options.copy_with(patience=found), HERE) for found in (None, 2))
    assert patient.confirm_steps == patient.max_steps == usual.max_steps < usual.confirm_steps
    (line,) = (line for line in format_plan(patient) if line.startswith("patience"))
    assert "2 evaluations" in line
    assert "hold out 12 of 60 training examples" in line


def test_the_plan_says_how_much_of_the_weights_each_worker_has() -> None:
    plan = make_test_plan(workers_per_trial=4, shard=True).change_arms(model_parameters=8 * 2**30)
    (line,) = [line for line in format_plan(plan) if line.startswith("memory ")]
    assert "4 workers share 32 GiB of weights (FSDP2), 8 each" in line
    assert not any(line.startswith("memory ") for line in format_plan(make_test_plan()))


@dataclass(frozen=True)
class LaterSettings(RunSettings):
    """Settings with one that a later version may add."""

    label_smoothing: float = 0.0


def test_a_new_setting_stands_in_the_identity() -> None:
    plan = make_test_plan()
    for smoothing in (0.0, 0.1):
        settings = LaterSettings(**vars(plan.settings), label_smoothing=smoothing)
        assert plan.change_arms(settings=settings).get_identity("")["label_smoothing"] == smoothing
    parts = {"space", "search_steps", "definition", "examples", "tokenizer"}
    assert set(plan.get_identity("")) == SETTING_OPTIONS | {*SEARCH_DECISIONS} | parts


@pytest.mark.parametrize("field", ["data", "model"])
def test_data_and_model_are_known_by_what_they_are_and_not_by_where_they_lie(field: str) -> None:
    plan = make_test_plan()
    moved = plan.change_arms(settings=replace(plan.settings, **{field: "/elsewhere"}))
    assert describe_changes(plan.get_identity(""), moved.get_identity("")) == []
    other = plan.change_arms(**{field: replace(getattr(plan, field), fingerprint="o" * 16)})
    (change,) = describe_changes(plan.get_identity(""), other.get_identity(""))
    assert change.startswith(f"{field} was ")


def identify_essays(folder: Path, model: Path, **changes: Any) -> dict[str, object]:
    definition = {"name": "essays", "columns": "text", "label": "grammar", "labels": ["a", "b"], **changes}
    (folder / "essays.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    return identify(folder, model, task=str(folder / "essays.yaml"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"label": "style"}, ["label was 'grammar', now 'style'"]),
        ({"labels": ["b", "a"]}, ["labels was ['a', 'b'], now ['b', 'a']"]),
        ({"metric": "accuracy"}, ["metric was ['macro_f1'], now ['accuracy']"]),
        ({"columns": "other"}, ["columns was ['text'], now ['other']"]),
    ],
)
def test_another_definition_of_a_task_is_another_search(
    changes: dict[str, Any], said: list[str], tmp_path: Path, tiny_model: Path
) -> None:
    for split in ("train", "dev"):
        rows = [
            {"text": f"w{n}", "other": f"w{n}", "grammar": "ab"[n % 2], "style": "ba"[n % 2]}
            for n in range(60)
        ]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    before = identify_essays(tmp_path, tiny_model)
    now = identify_essays(tmp_path, tiny_model, **changes)
    assert describe_changes(json.loads(json.dumps(before)), now) == said
    assert describe_changes({**before, "examples": {"train": "as another version read it"}}, before) != []


def test_another_tokenizer_is_another_search(tiny_cola: Path, tiny_model: Path, tmp_path: Path) -> None:
    twin = shutil.copytree(tiny_model, tmp_path / "twin")
    before = identify(tiny_cola, tiny_model)
    assert describe_changes(before, identify(tiny_cola, twin)) == []
    file = twin / "tokenizer_config.json"
    file.write_text(file.read_text(encoding="utf-8") + " ", encoding="utf-8")
    (change,) = describe_changes(before, identify(tiny_cola, twin))
    assert change.startswith("tokenizer was ")


def test_what_the_first_versions_did_not_save_is_as_it_is_now() -> None:
    now = make_test_plan().get_identity("")
    old = {key: value for key, value in now.items() if key not in ("definition", "examples", "tokenizer")}
    assert describe_changes(old, now) == []


def to_old_identity(identity: dict[str, Any]) -> dict[str, Any]:
    """The identity as version 0.1.0 saved it."""
    old = {key: value for key, value in identity.items() if key != "search_steps"}
    return {**old, "max_steps": identity["search_steps"], "transfer": None, "precision": "auto"}


def test_an_old_identity_is_the_same_search_unless_it_says_otherwise() -> None:
    plan = make_test_plan()
    plan = plan.change_arms(settings=replace(plan.settings, precision="bf16", max_steps=60))
    old, now = to_old_identity(plan.get_identity("")), plan.get_identity("")
    assert describe_changes(old, now, "bf16") == []
    assert describe_changes(old, now, None) == []
    assert describe_changes(old, now, "fp32") == ["precision was 'fp32', now 'bf16'"]
    assert describe_changes({**old, "max_steps": 50}, now, "bf16") == ["search_steps was 50, now 60"]
    (change,) = describe_changes({**old, "transfer": "snli, sick"}, now, "bf16")
    assert change == "transfer was ['snli', 'sick'], now []"
    rte = {**now, "task": "rte", "transfer": ("snli", "sick", "scitail")}
    assert describe_changes({**old, "task": "rte", "transfer": "paper"}, rte, "bf16") == []


@pytest.mark.parametrize("name", ["interrupted", "compare"])
def test_a_search_of_commit_521c27d_is_resumed_with_its_own_options_alone(name: str, tmp_path: Path) -> None:
    folder = restore_old_search(name, tmp_path)
    options_class = CompareOptions if name == "compare" else SearchOptions
    options = load_resumed_options(options_class(resume=folder))
    plan = make_plan(options, HERE)
    for arm in plan.arms:
        Ledger(folder / "study.db", plan.task.direction, arm).open(plan.get_identity(arm))
    other = make_plan(options.copy_with(batch_size=8), HERE)
    with pytest.raises(InputError, match="another search: batch_size was 16, now 8; use a new --output"):
        Ledger(folder / "study.db", plan.task.direction, arm).open(other.get_identity(arm))


def test_what_is_resumed_knows_what_its_sessions_ran_and_spent(tmp_path: Path) -> None:
    folder = restore_old_search("search", tmp_path)
    plan = make_plan(
        load_resumed_options(SearchOptions(resume=folder, time_budget="1h", cpu_hours=1.0)), HERE
    )
    ledger = Ledger(folder / "study.db", plan.task.direction)
    resumed, runs = startup._adopt_resumed_search(plan, folder / "study.db"), ledger.records()
    assert resumed.ended_runs == len(runs)
    assert resumed.ended[""] == Counter(run.purpose for run in runs)
    assert resumed.spent_seconds == ledger.seconds > 0
    assert resumed.spent_slot_seconds == {
        **dict.fromkeys(plan.arms, 0.0),
        "": pytest.approx(sum(run.seconds for run in runs)),
    }
    (line,) = [line for line in format_plan(resumed) if line.startswith("budget ")]
    assert line.startswith(f"budget       1:00:00 ({format_clock(ledger.seconds)} spent), 1 CPU-hours (0.04")


def test_confirmations_of_another_configuration_are_none_of_those_that_are_left() -> None:
    """Of the published values, say, where only the winner is confirmed from now on."""
    plan = make_test_plan(confirm=10, baseline="none")
    winner, other = {"method": "vanilla", "learning_rate": 1e-4}, {"method": "vanilla", "learning_rate": 2e-4}
    runs = [
        make_record(number, id=f"confirm-{number}", purpose="confirmation", configuration=configuration)
        for number, configuration in enumerate([winner] * 5 + [other] * 4)
    ]
    assert plan.count_confirmations("") == 10
    assert startup._count_ended(plan, "", runs)[RunPurpose.CONFIRMATION] == 5


def test_an_old_search_that_is_resumed_gets_its_baselines_and_runs_nothing_else_again(tmp_path: Path) -> None:
    folder = restore_old_search("search", tmp_path)
    plan = make_plan(load_resumed_options(SearchOptions(resume=folder)), HERE)
    ledgers = {arm: Ledger(folder / "study.db", plan.task.direction, arm) for arm in plan.arms}
    before = ledgers[""].records()
    strategies = {arm: plan.make_strategy(arm, SlotCount(2), "work", [[], []]) for arm in plan.arms}
    tune = FakeTune(make_arms(ledgers, strategies, [], lambda: False, 0.0))
    tune.run()
    assert [run for run in ledgers[""].records() if run in before] == before
    assert {job.id for job in tune.seen if dict(job.fingerprints) != plan.preview.fingerprints} == set()
    assert plan.preview.fingerprints
    added = Counter((job.arm, str(job.purpose)) for job in tune.seen)
    baselines = ("vanilla", "vanilla-no-dropout")
    assert added == {
        ("", "confirmation"): 2,  # of the published values
        **{(arm, "search"): 3 for arm in baselines},
        **{(arm, "race"): 2 * plan.options.race for arm in baselines},
        **{(arm, "confirmation"): 2 for arm in baselines},
    }


def test_a_setting_that_was_not_there_had_its_default() -> None:
    now = make_test_plan().get_identity("")
    before = {key: value for key, value in now.items() if key != "probe"}
    assert describe_changes(before, now) == []
    assert describe_changes(before, {**now, "probe": "rte"}) == ["probe was None, now 'rte'"]
    assert describe_changes(json.loads(json.dumps(now)), now) == []


def test_the_plan_says_the_classes_and_what_is_odd_about_them() -> None:
    plan = make_test_plan()
    counts = {f"c{number}": number for number in range(10)}
    preview = replace(
        plan.preview, label_counts=counts, label_notes={"dev": "numbers are read as ids"}, shared_texts=3
    )
    said = "\n".join(format_plan(plan.change_arms(preview=preview)))
    assert "labels       train: 'c0' 0, 'c1' 1, 'c2' 2" in said
    assert "'c7' 7, and 2 more with 8 to 9; numbers are read as ids (dev)" in said
    assert "check        3 texts of dev are in train too" in said


def test_the_plan_says_the_weights_of_a_balanced_loss() -> None:
    plan = make_test_plan()
    preview = replace(plan.preview, label_counts={"no": 30, "yes": 10})
    said = "\n".join(
        format_plan(plan.change_arms(preview=preview, settings=replace(plan.settings, loss="balanced")))
    )
    assert "loss         balanced: weights 0.67 to 2, by the classes" in said


def test_the_plan_says_the_groups_and_those_that_both_files_have() -> None:
    plan = make_test_plan()
    task, preview = replace(plan.task, group="author"), replace(plan.preview, groups=1200, shared_groups=3)
    said = "\n".join(format_plan(plan.change_arms(task=task, preview=preview)))
    assert "groups       1,200 in 'author': each kept on one side of every split" in said
    assert "check        the groups of 3 examples of dev are in train too: scores on dev will be" in said


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second model: the built-in one, in another folder."""
    folder = tmp_path_factory.mktemp("models") / "other"
    shutil.copytree(locate_model("builtin").path, folder)
    return folder


def test_models_and_lengths_are_searched_and_a_run_has_those_of_its_configuration(other_model: Path) -> None:
    space = {"model": {"builtin": None, str(other_model): {"learning_rate": [1e-5]}}, "max_length": [16, 32]}
    options = SearchOptions(task="cola", data="builtin", train_size=100, space=space, baseline="vanilla")
    plan = make_plan(options, HERE)
    assert [*plan.models] == ["builtin", "other"]
    said = "\n".join(format_plan(plan))
    assert "model        other: 23 million weights; texts: none has more than 32 tokens" in said
    assert "vanilla" in plan.arms
    strategy = plan.make_strategy("", SlotCount(1), "", ([], []))
    configuration = {"method": "dps-dense", "model": "other", "learning_rate": 1e-5, "max_length": 16}
    settings = strategy.choose_settings(configuration)
    assert (settings.model, settings.max_length) == (str(other_model), 16)
    job = Job("0", RunPurpose.SEARCH, configuration, 0, settings, "")
    assert (make_fine_tune_config(job).model, make_fine_tune_config(job).max_length) == (str(other_model), 16)
    again = make_plan(plan.options, HERE)
    assert describe_changes(plan.get_identity(""), again.get_identity("")) == []
    one = make_plan(options.copy_with(space={**space, "model": ["builtin"]}), HERE)
    assert describe_changes(plan.get_identity(""), one.get_identity(""))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "builtin"}, "--space: the model is searched; leave --model out, or model out of --space"),
        ({"max_length": 32}, "--space: max_length is searched; leave --max-length out"),
        ({"space": {"model": ["builtin", "./nothing"]}}, "--space: model: there is no folder './nothing'"),
        (
            {"space": {"model": ["builtin"], "max_length": [600]}},
            "--space: max_length: 'builtin' takes at most 512",
        ),
    ],
    ids=str,
)
def test_a_model_or_a_length_that_cannot_be_searched_is_refused(changes: dict[str, Any], says: str) -> None:
    space = {"model": ["builtin"], "max_length": [16, 32]}
    options = SearchOptions(task="cola", data="builtin", train_size=100, space=space)
    with pytest.raises(InputError, match=re.escape(says)):
        make_plan(options.copy_with(**changes), HERE)


def test_each_model_is_looked_at_with_the_longest_of_its_own_lengths(
    tiny_cola: Path, tiny_model: Path
) -> None:
    space = {"model": {"builtin": None, str(tiny_model): {"max_length": [6, 8]}}}
    plan = make_plan(SearchOptions(task="cola", data=str(tiny_cola), space=space), HERE)
    lengths = {label: model.settings.max_length for label, model in plan.models.items()}
    assert lengths == {"builtin": 128, tiny_model.name: 8}
    assert plan.space.parameters["builtin.max_length"] == Choice((128,))
    said = {label: line for line in format_plan(plan) for label in lengths if f" {label}: " in line}
    assert [line.endswith("of the lengths 6 | 8 the longest") for line in said.values()] == [False, True]


@pytest.mark.parametrize(
    ("method", "baseline", "says"),
    [
        ("vanilla", "vanilla", "--baseline: vanilla is itself what is searched; give published"),
        (
            "vanilla-no-dropout",
            "vanilla-no-dropout",
            "--baseline: vanilla-no-dropout is itself what is search",
        ),
        (
            "vanilla",
            "none,vanilla",
            "--baseline: none is no comparison at all; give it alone, or vanilla with",
        ),
        (
            "vanilla",
            "lora,none,magic",
            "--baseline: none is no comparison at all; give it alone, or lora,magic",
        ),
    ],
)
def test_baselines_with_which_nothing_is_compared_are_refused(method: str, baseline: str, says: str) -> None:
    with pytest.raises(InputError) as refusal:
        make_plan(SearchOptions(task="rte", data="builtin", method=method, baseline=baseline), HERE)
    assert str(refusal.value).startswith(says)


def test_a_plan_names_the_baseline_that_is_itself_what_is_searched(
    tiny_cola: Path, tiny_model: Path, tmp_path: Path
) -> None:
    options = SearchOptions(task="cola", data=str(tiny_cola), model=str(tiny_model), method="vanilla")

    def say(**changes: Any) -> str:
        plan = make_plan(options.copy_with(**changes), HERE)
        return "".join(line for line in format_plan(plan) if line.startswith("baselines "))

    named = say(baseline="vanilla,lora")
    assert named.startswith("baselines    lora, at the best of")
    assert named.endswith("on the same seeds; no vanilla, as it is what is searched")
    assert "no vanilla" not in say(baseline="vanilla,lora", method="vanilla,lora")
    assert "no vanilla" not in say()  # the usual baselines, of which the plan names those that there are
    resumed = say(baseline="vanilla", resume=tmp_path)  # of a version that did not refuse it
    assert resumed == "baselines    no vanilla, as it is what is searched"


def test_a_plan_says_where_there_are_no_published_values_and_counts_no_runs_of_them(
    tiny_cola: Path, tiny_model: Path
) -> None:
    options = SearchOptions(task="cola", data=str(tiny_cola), model=str(tiny_model), baseline="published")
    plan = make_plan(options.copy_with(method="lora", space={"rank": [4]}), HERE)
    assert "baselines    no published values, as the space lacks them" in format_plan(plan)
    assert plan.count_confirmations("") == options.confirm


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        (1, "the published values: 1 trial"),
        (8, "the published values: 2 trials; then 6 at random (tpe not before the 9th)"),
        (24, "the published values: 2 trials; then at least 6 at random, then tpe"),
    ],
)
def test_the_plan_says_when_the_sampler_begins(trials: int, said: str) -> None:
    assert f"first        {said}" in format_plan(make_test_plan(trials=trials))


@pytest.mark.parametrize(
    ("given", "searched", "longest"),
    [
        ({"train_size": 100}, Range(2.0, 10.0, log=True), 10.0),
        ({}, Range(2.0, 6.0, log=True), 6.0),  # 800 examples
        ({"shots": 16}, Range(2.0, 10.0, log=True), 10.0),
        ({"epochs": 4.0}, None, 4.0),
        ({"max_steps": 40}, None, None),
        ({"sampler": "grid", "space": GRID}, None, 4.0),
        ({"space": {"epochs": [3]}}, Choice((3,)), 3),
        ({"space": {"method": {"dps-dense": {"epochs": [3]}}}}, Choice((3,)), 4.0),
    ],
    ids=str,
)
def test_epochs_are_searched_where_examples_are_few_and_nothing_says_how_many(
    given: dict[str, Any], searched: Any, longest: float | None
) -> None:
    """A run sees 5,000 examples at most, and each of them ten times; of more than 1,000, 4 epochs."""
    plan = make_plan(SearchOptions(task="cola", data="builtin", model="builtin", **given), HERE)
    assert plan.space.parameters.get("epochs") == searched
    assert plan.space.for_baseline("vanilla").parameters.get("epochs") == searched
    config = FineTuneConfig(epochs=longest or 1, max_steps=None if longest else 40)
    assert plan.max_steps == config.steps(round(0.8 * plan.preview.examples["train"]))
    assert make_plan(plan.options, HERE).space == plan.space  # as a resume reads it


def test_a_comparison_has_four_epochs_where_none_are_given() -> None:
    plan = make_plan(CompareOptions(task="cola", data="builtin", model="builtin", train_size=100), HERE)
    assert plan.settings.epochs == 4
    assert {name for arm in plan.arms.values() for name in arm.space.parameters}.isdisjoint({"epochs"})
