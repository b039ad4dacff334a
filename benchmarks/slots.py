"""The same trials, three ways: warm slots, a TorchTrainer for each trial, Optuna around transformers.Trainer.

    pip install -c constraints.txt accelerate       # transformers.Trainer needs it
    python benchmarks/slots.py                      # 16 trials of 40 steps, on the built-in model and data
    python benchmarks/slots.py --trials 8 --repeats 3
    python benchmarks/slots.py --data ../glue       # on real CoLA

Each side is a process of its own and gets the whole machine, in turns. All train the same model on the same
examples with the same learning rates, by plain AdamW, and evaluate at the end; nothing is stopped early.
Warm slots: `python tune/search.py`, as many single-threaded slots as cores. TorchTrainer: Ray Tune with as
many trials at once as cores, each of which starts a TorchTrainer of one worker that calls
`dps.finetune`, as
Ray's documentation has it. Optuna: one process with a thread for each core, its batches of like length as
ours are. Each has the precision that is its default: the search picks bf16 where the CPU has it in hardware,
and there Optuna's loop is run in bf16 as well. Seconds are from the start of the process to the end of the
last trial; a gap is from the end of a trial to the first step of the next in its place, the median of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

SIDES = ("warm slots", "a TorchTrainer a trial", "Optuna + transformers.Trainer", "the same in bf16")
TRAIN, BATCH, LENGTH = 320, 16, 64


def rates(trials: int) -> list[float]:
    """The learning rates, the same on every side."""
    return [1e-5 * (30 ** (number / max(1, trials - 1))) for number in range(trials)]


def configured(rate: float, setting: argparse.Namespace) -> Any:
    """One run, in the words of `dps`."""
    import dps

    return dps.FineTuneConfig(
        task="cola",
        data=setting.data,
        method=dps.Vanilla(),
        learning_rate=rate,
        max_steps=setting.steps,
        train_size=TRAIN,
        batch_size=BATCH,
        max_length=LENGTH,
        evaluations=1,
        seed=0,
    )


def told(started: float, began: list[float], ended: list[float], at_once: int | None = None) -> None:
    """Print what a side took. started: when its process did; began, ended: of the first and the last step of
    each trial; all in seconds since the epoch. at_once: trials, as many as cores unless it is said."""
    places = at_once or os.cpu_count() or 1
    gaps = [first - last for first, last in zip(sorted(began)[places:], sorted(ended), strict=False)]
    found = {
        "seconds": max(ended) - started,
        "first step": min(began) - started,
        "gap": statistics.median(gaps),
    }
    print(json.dumps(found))


def warm_slots(setting: argparse.Namespace) -> None:
    """The project's own search over a list of learning rates."""
    with tempfile.TemporaryDirectory(prefix="slots-") as folder:
        space = json.dumps({"learning_rate": rates(setting.trials)})
        options = f"--task cola --model builtin --method vanilla --trials {setting.trials} "
        options += f"--max-steps {setting.steps} --train-size {TRAIN} --batch-size {BATCH} "
        options += f"--max-length {LENGTH} --evaluations 1 --scheduler none --sampler grid --race 0 "
        options += "--baseline none --confirm 1 --tracking-uri none"
        command = [sys.executable, str(ROOT / "tune/search.py"), *options.split()]
        command += ["--space", space, "--data", setting.data]
        output = Path(folder) / "out"
        subprocess.run([*command, "--output", str(output)], check=True, stdout=subprocess.DEVNULL)
        found = json.loads((output / "search.json").read_text(encoding="utf-8"))
    assert [t["outcome"] for t in found["trials"]] == ["completed"] * setting.trials
    told(
        found["provenance"]["started"],
        [t["began"] for t in found["trials"]],
        [t["began"] + t["seconds"] for t in found["trials"]],
    )


def torch_trainers(setting: argparse.Namespace) -> None:
    """Ray Tune, whose every trial starts a TorchTrainer."""
    import logging

    import ray
    import ray.train
    import ray.train.torch
    import ray.tune

    os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
    ray.init(logging_level=logging.ERROR, log_to_driver=False)

    def train(config: dict[str, Any]) -> None:
        import torch

        import dps

        torch.set_num_threads(1)
        result = dps.finetune(configured(config["rate"], setting))
        now = time.time()
        times = json.dumps([now - result.seconds, now])
        (Path(config["times"]) / f"{config['rate']}.json").write_text(times, encoding="utf-8")
        ray.train.report({"score": result.score})

    def trial(config: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory(prefix="slots-") as folder:
            ray.train.torch.TorchTrainer(
                train,
                train_loop_config=config,
                scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
                run_config=ray.train.RunConfig(storage_path=folder, name="run"),
            ).fit()
        ray.tune.report({"done": 1})

    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="slots-") as folder, tempfile.TemporaryDirectory() as times:
        ray.tune.Tuner(
            ray.tune.with_resources(trial, {"CPU": 0.01}),
            param_space={"rate": ray.tune.grid_search(rates(setting.trials)), "times": times},
            tune_config=ray.tune.TuneConfig(max_concurrent_trials=cores),
            run_config=ray.tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        each = [json.loads(file.read_text(encoding="utf-8")) for file in Path(times).iterdir()]
    assert len(each) == setting.trials
    began, ended = zip(*each, strict=True)
    told(psutil.Process().create_time(), list(began), list(ended))


def optuna_trainer(setting: argparse.Namespace, bf16: bool = False) -> None:
    """Optuna's loop around transformers.Trainer, in one process."""
    import optuna
    import torch
    import transformers

    from dps import sources
    from dps.models import PretrainedEncoder, locate_model
    from dps.tasks import registry
    from dps.training.config import FineTuneConfig
    from dps.training.data import TaskData, split_holdout

    torch.set_num_threads(os.cpu_count() or 1)
    transformers.utils.logging.set_verbosity_error()
    task = registry.get_task("cola")
    base = PretrainedEncoder(locate_model("builtin"), task)
    data = TaskData(task, sources.open_data_source(setting.data), base.tokenizer, LENGTH)
    train, held = split_holdout(task, data.get_train_examples(TRAIN), FineTuneConfig.holdout_share, 0)
    rows = [
        [{**tokens, "labels": int(label)} for tokens, label in zip(part.tokens, part.labels, strict=True)]
        for part in (train, held)
    ]

    began: list[float] = []
    ended: list[float] = []

    class FirstStep(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 0:
                began.append(time.time())

    def objective(trial: optuna.Trial) -> float:
        rate = rates(setting.trials)[trial.number]
        with tempfile.TemporaryDirectory(prefix="slots-") as folder:
            arguments = transformers.TrainingArguments(
                output_dir=folder,
                max_steps=setting.steps,
                per_device_train_batch_size=BATCH,
                per_device_eval_batch_size=4 * BATCH,
                learning_rate=rate,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                logging_strategy="no",
                train_sampling_strategy="group_by_length",
                use_cpu=True,
                bf16=bf16,
            )
            trainer = transformers.Trainer(
                base.build(0, 0.1),
                arguments,
                train_dataset=rows[0],
                eval_dataset=rows[1],
                data_collator=transformers.DataCollatorWithPadding(base.tokenizer),
                callbacks=[FirstStep()],
            )
            trainer.train()
            loss = float(trainer.evaluate()["eval_loss"])
            ended.append(time.time())
            return loss

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study().optimize(objective, n_trials=setting.trials)
    told(psutil.Process().create_time(), began, ended, at_once=1)


RUN = dict(
    zip(SIDES, (warm_slots, torch_trainers, optuna_trainer, partial(optuna_trainer, bf16=True)), strict=True)
)


def measured(side: str, setting: argparse.Namespace) -> dict[str, float]:
    """Run one side in a process of its own; see `told`."""
    command = [sys.executable, __file__, "--side", side, "--trials", str(setting.trials)]
    done = subprocess.run(
        [*command, "--steps", str(setting.steps), "--data", setting.data],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        },
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--data", default="builtin", help="builtin, or a folder with GLUE files")
    parser.add_argument(
        "--skip-trainers", action="store_true", help="leave out the TorchTrainers, which take minutes"
    )
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    setting = parser.parse_args()
    if setting.side:
        RUN[setting.side](setting)
        return 0
    import torch

    sides = [*SIDES] if torch.cpu.get_capabilities().get("avx512_bf16") else [*SIDES[:-1]]
    if setting.skip_trainers:
        sides.remove("a TorchTrainer a trial")
    taken: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(setting.repeats):
        for side in sides:
            taken[side].append(measured(side, setting))
    print(
        f"{setting.trials} trials of {setting.steps} steps, {os.cpu_count()} cores, "
        f"{setting.repeats} time(s)\n"
    )
    print(
        "| | seconds, median | each | warm slots / this | first step, s | gap, s |\n|---|---|---|---|---|---|"
    )
    ours = median(taken[SIDES[0]], "seconds")
    for side, each in taken.items():
        middle = median(each, "seconds")
        shown = ", ".join(f"{one['seconds']:.0f}" for one in each)
        first, gap = median(each, "first step"), median(each, "gap")
        print(f"| {side} | {middle:.0f} | {shown} | {ours / middle:.2f} | {first:.1f} | {gap:.2f} |")
    return 0


def median(each: list[dict[str, float]], what: str) -> float:
    return statistics.median(one[what] for one in each)


if __name__ == "__main__":
    sys.exit(main())
