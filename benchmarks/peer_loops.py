"""Searches as users of other tools write them, each as the tool's documentation has it.

`benchmarks/peers.py` runs one a process and measures it. All train the same model on the same examples for as
many steps, by `transformers.Trainer`, which each of them is usually put around, and look for the same
learning rate, weight decay and warm-up. A loop prints the values that it would go on with, as a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RANGES = {"learning_rate": (1e-5, 1e-3), "weight_decay": (0.0, 0.1), "warmup_ratio": (0.0, 0.2)}
LOGARITHMIC = "learning_rate"
BATCH, LENGTH = 16, 64
METRIC = "eval_mcc"  # as Trainer.evaluate names what compute_metrics calls mcc


@dataclass(frozen=True)
class Setting:
    """What all loops share.

    model: folder of a pre-trained model. train, held: rows of {"text", "label"}, to train on and to select
    by. trials: configurations. steps: of each. bf16: whether to train in it, as the project's search does
    where the CPU has it. seed: of the search and of every run, so that only what is searched differs.
    """

    model: str
    train: list[dict[str, Any]]
    held: list[dict[str, Any]]
    trials: int
    steps: int
    bf16: bool
    seed: int

    @classmethod
    def read(cls, file: Path) -> Setting:
        return cls(**json.loads(file.read_text(encoding="utf-8")))


def make_trainer(setting: Setting, values: dict[str, float], folder: str) -> Any:
    """Return a Trainer of these values, all of RANGES or none where the tool sets them later."""
    import numpy as np
    import transformers
    from sklearn.metrics import matthews_corrcoef

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(setting.model)
    train, held = (
        [
            {**tokenizer(row["text"], truncation=True, max_length=LENGTH), "labels": row["label"]}
            for row in rows
        ]
        for rows in (setting.train, setting.held)
    )

    def build() -> Any:
        return transformers.AutoModelForSequenceClassification.from_pretrained(setting.model, num_labels=2)

    arguments = transformers.TrainingArguments(
        output_dir=folder,
        max_steps=setting.steps,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=4 * BATCH,
        train_sampling_strategy="group_by_length",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        bf16=setting.bf16,
        seed=setting.seed,
        **to_arguments(values or {"warmup_ratio": 0.0}),  # of a float: else a warm-up set later is cut to 0
    )
    return transformers.Trainer(
        **({"model": build()} if values else {"model_init": build}),
        args=arguments,
        train_dataset=train,
        eval_dataset=held,
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda answers: {
            "mcc": matthews_corrcoef(answers.label_ids, np.argmax(answers.predictions, axis=-1))
        },
    )


def to_arguments(values: dict[str, float]) -> dict[str, float]:
    """Return values of RANGES as TrainingArguments names them: a warm-up below 1 is a share of the steps."""
    return {"warmup_steps" if name == "warmup_ratio" else name: value for name, value in values.items()}


def from_arguments(values: dict[str, float]) -> dict[str, float]:
    """Return arguments of a Trainer as RANGES names them."""
    return {"warmup_ratio" if name == "warmup_steps" else name: value for name, value in values.items()}


def train(setting: Setting, values: dict[str, float]) -> float:
    """Train and return the score on what is held out."""
    with tempfile.TemporaryDirectory(prefix="peer-") as folder:
        trainer = make_trainer(setting, values, folder)
        trainer.train()
        return float(trainer.evaluate()[METRIC])


def suggest(trial: Any) -> dict[str, float]:
    """Ask an Optuna trial."""
    return {
        name: trial.suggest_float(name, low, high, log=name == LOGARITHMIC)
        for name, (low, high) in RANGES.items()
    }


def draw_domains(library: Any) -> dict[str, Any]:
    """Return RANGES as domains of `ray.tune` or `syne_tune.config_space`."""
    return {
        name: library.loguniform(low, high) if name == LOGARITHMIC else library.uniform(low, high)
        for name, (low, high) in RANGES.items()
    }


def use_cores() -> None:
    """One run at a time gets every core."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)


def loop_optuna(setting: Setting) -> dict[str, float]:
    """Optuna's study.optimize around Trainer."""
    import optuna

    use_cores()
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=setting.seed))
    study.optimize(lambda trial: train(setting, suggest(trial)), n_trials=setting.trials)
    return dict(study.best_params)


def loop_ray_tune(setting: Setting) -> dict[str, float]:
    """Ray Tune with a function trainable and OptunaSearch, as many runs at once as cores."""
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    with tempfile.TemporaryDirectory(prefix="peer-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(report_to_ray, setting=setting), {"cpu": 1}),
            param_space=draw_domains(tune),
            tune_config=tune.TuneConfig(
                metric="score",
                mode="max",
                num_samples=setting.trials,
                search_alg=OptunaSearch(seed=setting.seed),
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        return dict(tuner.fit().get_best_result().config)


def report_to_ray(config: dict[str, float], setting: Setting) -> None:
    """Train as a trial of Ray Tune."""
    from ray import tune

    tune.report({"score": train(setting, config)})


def loop_syne_tune(setting: Setting) -> dict[str, float]:
    """Syne Tune's local back-end with its TPE, as many runs at once as cores."""
    from syne_tune import StoppingCriterion, Tuner, config_space
    from syne_tune.backend import LocalBackend
    from syne_tune.optimizer.baselines import TPE

    tuner = Tuner(
        trial_backend=LocalBackend(entry_point=__file__),
        scheduler=TPE(
            {**draw_domains(config_space), "setting": os.environ["PEER_SETTING"]},
            metric="score",
            do_minimize=False,
            random_seed=setting.seed,
        ),
        stop_criterion=StoppingCriterion(max_num_trials_started=setting.trials),
        n_workers=os.cpu_count() or 1,
        sleep_time=0.5,
        wait_trial_completion_when_stopping=True,
        save_tuner=False,
    )
    tuner.run()
    _, config = tuner.best_config()
    return {name: config[name] for name in RANGES}


def search_with_trainer(
    setting: Setting, backend: str, space: Callable[[Any], Any], **named: Any
) -> dict[str, float]:
    """Call Trainer.hyperparameter_search."""
    with tempfile.TemporaryDirectory(prefix="peer-") as folder:
        best = make_trainer(setting, {}, folder).hyperparameter_search(
            hp_space=space,
            compute_objective=lambda metrics: metrics[METRIC],
            n_trials=setting.trials,
            direction="maximize",
            backend=backend,
            **named,
        )
    return from_arguments(best.hyperparameters)


def loop_trainer_optuna(setting: Setting) -> dict[str, float]:
    """Trainer.hyperparameter_search on Optuna."""
    import optuna

    use_cores()
    sampler = optuna.samplers.TPESampler(seed=setting.seed)
    return search_with_trainer(setting, "optuna", lambda trial: to_arguments(suggest(trial)), sampler=sampler)


def loop_trainer_ray(setting: Setting) -> dict[str, float]:
    """Trainer.hyperparameter_search on Ray, as many runs at once as cores, drawn at random."""
    import ray
    from ray import tune

    ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    with tempfile.TemporaryDirectory(prefix="peer-") as folder:
        return search_with_trainer(
            setting,
            "ray",
            lambda _: to_arguments(draw_domains(tune)),
            resources_per_trial={"cpu": 1},
            storage_path=folder,
            verbose=0,
        )


LOOPS = {
    "Ray Tune, function trainable": loop_ray_tune,
    "Optuna around Trainer": loop_optuna,
    "Syne Tune, local back-end": loop_syne_tune,
    "Trainer.hyperparameter_search, Ray": loop_trainer_ray,
    "Trainer.hyperparameter_search, Optuna": loop_trainer_optuna,
}


def main() -> None:
    """Run a loop, or what Syne Tune starts for a trial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", type=Path, required=True, help="JSON of what the loops share")
    parser.add_argument("--loop", choices=LOOPS, help="which")
    for name in RANGES:
        parser.add_argument(f"--{name}", type=float, help="of a trial of Syne Tune")
    options, _ = parser.parse_known_args()
    setting = Setting.read(options.setting)
    if options.loop:
        print(json.dumps(LOOPS[options.loop](setting)))
        return
    from syne_tune import Reporter

    Reporter()(score=train(setting, {name: getattr(options, name) for name in RANGES}))


if __name__ == "__main__":
    main()
