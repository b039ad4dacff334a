"""The main job, end to end: real Ray, real MLflow, the built-in model and data."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.cli import TINY, Done, search

pytestmark = pytest.mark.integration
PLANTED = {
    "HF_TOKEN": "hf_plantedToken",
    "MLFLOW_TRACKING_PASSWORD": "plantedPassword",
    "AWS_SECRET_ACCESS_KEY": "plantedSecretKey",
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    output = tmp_path_factory.mktemp("runs") / "rte"
    options = ("--task", "rte", "--trials", "4", "--confirm", "2", "--seed", "3", "--profile", *TINY)
    return search(output, *options, env=PLANTED)


def test_it_ends_well_and_says_what_won(done: Done) -> None:
    assert done.status == 0, done.text
    winner = done.found["winner"]["trial"]
    assert f"Trial {winner} won" in done.text
    assert "explored: 4 trials" in done.text
    assert "raced: " in done.text
    assert "data         built-in generator (auto: no hub answers)" in done.text
    assert "ui --workers 1 --backend-store-uri sqlite:///" in done.text


def test_a_local_ray_listens_on_loopback_alone(done: Done) -> None:
    assert done.listening == {"127.0.0.1"}


def test_nothing_of_the_libraries_shows(done: Done) -> None:
    for noise in ("WARNING", "INFO", "raylet", "Traceback", "ExperimentalWarning", "UserWarning"):
        assert noise not in done.text, done.text


def test_search_json_says_where_the_seconds_went(done: Done) -> None:
    found = done.found["profile"]
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert found["shares"]["training"] > 0
    assert found["shares"]["evaluation"] > 0
    assert all(seconds > 0 for seconds in found["before_first_step"].values())
    parts = done.found["trials"][0]["parts"]
    assert set(parts) >= {"start", "evaluation", "report"}
    assert sum(parts.values()) - parts["start"] < done.found["trials"][0]["seconds"]
    assert "training steps" in done.text


def test_search_json_has_the_fixed_keys(done: Done) -> None:
    found = done.found
    assert {
        "schema_version", "task", "metric", "direction", "data", "model", "provenance", "space", "trials",
        "winner", "confirmation", "spent",
    } <= set(found)  # fmt: skip
    assert [trial["id"] for trial in found["trials"]] == [0, 1, 2, 3]
    for trial in found["trials"]:
        assert {"id", "configuration", "seed", "outcome", "scores", "seconds"} <= set(trial)
        assert trial["outcome"] in ("completed", "stopped")
        assert trial["scores"]
    assert set(found["winner"]) == {"trial", "configuration", "published"}
    assert set(found["confirmation"]) == {"scores", "mean", "std"}
    assert set(found["confirmation"]["scores"]) == {"4", "5"}  # fresh seeds, not the search's 3
    assert {"seconds", "slot_seconds", "trials"} <= set(found["spent"])


def test_the_winner_stands_beside_its_baselines_on_the_same_seeds(done: Done) -> None:
    found = done.found
    names = [] if found["winner"]["published"] else ["published"]
    assert [each["name"] for each in found["baselines"]] == [*names, "vanilla", "vanilla-no-dropout"]
    for baseline in found["baselines"]:
        assert set(baseline["confirmation"]["scores"]) == set(found["confirmation"]["scores"])
        expected = found["confirmation"]["mean"] - baseline["confirmation"]["mean"]
        assert baseline["difference"]["mean"] == pytest.approx(expected)
        rates = {trial["configuration"]["learning_rate"] for trial in baseline["trials"]}
        assert len(rates) == (0 if baseline["published"] else 3)
        assert baseline["published"] or baseline["configuration"]["learning_rate"] in rates
    assert not any(run["outcome"] != "completed" for each in found["baselines"] for run in each["trials"])


def test_what_races_is_paired_on_seeds_that_took_no_other_part(done: Done) -> None:
    seeds = [run["seed"] for run in done.found["race_runs"]]
    assert set(seeds) <= {3, *range(1003, 1009)}
    tried = [trial["configuration"] for trial in done.found["trials"]]
    assert all(run["configuration"] in tried for run in done.found["race_runs"])
    assert all(run["outcome"] == "completed" for run in done.found["race_runs"])
    for baseline in done.found["baselines"]:
        ran = Counter(str(run["configuration"]) for run in baseline["race_runs"])
        assert sorted(ran.values()) == ([] if baseline["published"] else [3, 3])
        assert {run["seed"] for run in baseline["race_runs"]} <= {*seeds}


def test_dps_masked_weights_in_every_completed_trial(done: Done) -> None:
    shares = [t["selected_share"] for t in done.found["trials"] if t["outcome"] == "completed"]
    assert shares
    assert all(0 < share < 1 for share in shares)


def test_every_run_with_a_score_says_the_share_of_its_most_frequent_answer(done: Done) -> None:
    runs = [run for key in ("trials", "race_runs", "confirmation_runs") for run in done.found[key]]
    assert all(0.5 <= run["top_share"] <= 1 for run in runs if run["scores"])
    of_runs = [run["top_share"] == 1 for run in done.found["confirmation_runs"]]
    assert done.found["evidence"]["answers"]["collapsed"] == sum(of_runs)


def test_the_best_model_loads_and_carries_no_trace_of_dps(done: Done) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    best = done.output / "best"
    model, info = AutoModelForSequenceClassification.from_pretrained(best, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.config.id2label == {0: "entailment", 1: "not_entailment"}
    batch = AutoTokenizer.from_pretrained(best)("All dogs bark.", "Some dogs bark.", return_tensors="pt")
    assert model(**batch).logits.shape == (1, 2)


def test_a_later_trial_begins_at_once_on_a_warm_slot(done: Done) -> None:
    waited = [trial["waited"] for trial in done.found["trials"] if trial["waited"] is not None]
    assert waited, "no slot ran two trials"
    assert min(waited) < 0.5, waited


def test_mlflow_has_the_search_its_trials_and_the_files(done: Done) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{done.output.parent}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name.startswith("rte-builtin-")]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run is not parent]
    baselines = done.found["baselines"]
    of_baselines = sum(len(each[kind]) for each in baselines for kind in ("trials", "race_runs", "runs"))
    assert len(children) == 4 + len(done.found["race_runs"]) + 2 + of_baselines
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    for run in children:
        own = {"selection_ratio", "update_ratio"} if run.data.tags["method"] == "dps-dense" else set()
        assert {"learning_rate", "seed"} | own <= set(run.data.params)
        assert {"method", "model", "data_fingerprint", "git_commit", "outcome"} <= set(run.data.tags)
    trial = next(run for run in children if run.data.tags["dps.trial"] == "0")
    curve = [m.value for m in client.get_metric_history(trial.info.run_id, "score")]
    assert curve == [score for _, score in done.found["trials"][0]["scores"]]
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"config.yaml", "search.json", "study.db", "best"} <= files


def test_the_folder_holds_results_and_no_leftovers(done: Done) -> None:
    names = {path.name for path in done.output.iterdir()}
    assert names == {"best", "config.yaml", "predictions", "report.html", "search.json", "study.db"}


def test_config_yaml_reruns_the_search_with_two_workers_a_trial(done: Done, tmp_path: Path) -> None:
    """The same seed proposes the same configurations; DDP goes the same way as one process. With --json
    every line, of standard error too, is an event."""
    config = str(done.output / "config.yaml")
    few = ("--trials", "2", "--confirm", "1", "--workers-per-trial", "2", "--json")
    again = search(tmp_path / "again", "--config", config, *few)
    assert again.status == 0, again.text
    events = [json.loads(line) for line in again.lines]
    assert [trial["configuration"] for trial in again.found["trials"]] == [
        trial["configuration"] for trial in done.found["trials"][:2]
    ]
    assert (events[0]["event"], events[0]["plan"]["slots"]) == ("plan", 1)
    assert (events[-1]["event"], events[-1]["winner"]) == ("search_ended", again.found["winner"])


def test_no_secret_of_the_environment_is_in_anything_that_is_left(done: Done) -> None:
    for secret in PLANTED.values():
        assert secret not in done.text
        for file in done.output.parent.rglob("*"):
            assert not file.is_file() or secret.encode() not in file.read_bytes(), file
    assert not (done.output / ".lock").exists()
