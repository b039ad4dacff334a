"""The main command: find the configuration that is truly better for a task, and prove it.

python tune/search.py --task cola
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: hand over to the package, so that workers can import it
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from tune import search as package

    sys.exit(package.main(sys.argv[1:]))

import os
import shutil
import signal
import threading
import time
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dps.errors import InputError
from tune import options as cli
from tune.options import SearchOptions

DONE, BROKE_OFF, WRONG_INPUT, REFUSED, NOTHING_FINISHED, INTERRUPTED = 0, 1, 2, 3, 4, 130
CHECKPOINT_EVERY_S = 60.0


def main(argv: list[str]) -> int:
    """Run the command; returns its exit status."""
    try:
        options = cli.parse(argv)
        if options.resume is not None:
            options = resumed(options)
        return search(options)
    except InputError as error:
        return _fail(str(error), WRONG_INPUT)
    except ConnectionError as error:
        return _fail(f"RAY_ADDRESS: {error}; start the cluster, or unset it for a local one", REFUSED)
    except KeyboardInterrupt:
        return _fail("interrupted before the first trial", INTERRUPTED)


def _fail(message: str, status: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status


def resumed(options: SearchOptions) -> SearchOptions:
    """The options of the search in --resume, under those given now."""
    folder = options.resume
    assert folder is not None
    if not (folder / "study.db").is_file() or not (folder / "config.yaml").is_file():
        raise InputError(f"--resume: {folder} holds no search (study.db and config.yaml)")
    return cli.resume(folder, options)


def search(options: SearchOptions) -> int:
    """Plan, search, confirm, report."""
    from tune import preflight, runtime, terminal

    try:
        if options.dry_run and runtime.address() is None:
            plan = preflight.make_plan(options, runtime.local_resources())
        else:
            plan = _connected_plan(options)
        if options.dry_run:
            print("\n".join(terminal.plan_lines(plan)))
            return DONE
        return _Search(plan).go()
    except preflight.Refused as error:
        return _fail(str(error), REFUSED)


def _connected_plan(options: SearchOptions) -> Any:
    """The plan, made while Ray starts; what the user gave is checked first."""
    from tune import preflight, runtime

    if runtime.address() is None:
        plan = preflight.make_plan(options, runtime.local_resources())
        preflight.check_output(output_folder(options), options.resume is not None)
        if not options.dry_run:
            runtime.connect()
        return plan
    cluster = runtime.connect()
    preflight.check_storage(options, cluster)
    plan = preflight.make_plan(options, cluster)
    if not options.dry_run:
        preflight.check_output(output_folder(options), options.resume is not None)
    return plan


def output_folder(options: SearchOptions) -> Path:
    """Where results go: --output, or runs/<task>-<date-time>; under the home folder in a submitted
    job, whose working directory Ray deletes."""
    from tune import runtime

    runs = Path.home() / "runs" if runtime.in_job() else Path("runs")
    return options.output or runs / f"{options.task}-{time.strftime('%Y%m%d-%H%M%S', _STARTED)}"


_STARTED = time.localtime()


class _Search:
    """One sitting of a search, on a cluster that is connected."""

    def __init__(self, plan: Any) -> None:
        from tune.ledger import Ledger
        from tune.provenance import provenance
        from tune.terminal import Progress

        self.plan, self.options = plan, plan.options
        self.output = output_folder(self.options).resolve()
        shared = (
            Path(self.options.storage).resolve() / self.output.name if self.options.storage else self.output
        )
        self.work, self.ray_files = shared / "work", shared / "ray"
        self.provenance = provenance()
        self.ledger = Ledger(self.output / "study.db", plan.task.direction)
        self.ledger.open(plan.identity())
        named = {"data": plan.settings.data, "model": plan.settings.model}
        cli.write_yaml(self.options.with_(**named), self.output / "config.yaml")
        earlier = [*self.ledger.records("search"), *self.ledger.records("confirm")]
        self.progress = Progress(plan, earlier)
        self.tracker = self._tracker()
        if self.tracker is not None:
            self.tracker.catch_up(earlier)
        self.watchers = [watcher for watcher in (self.progress, self.tracker) if watcher is not None]

    def _tracker(self) -> Any:
        from tune import tracking

        uri = tracking.tracking_uri(self.options.tracking_uri, self.output.parent)
        if uri is None:
            return None
        search_id = self.ledger.noted("search_id") or uuid.uuid4().hex
        self.ledger.note("search_id", search_id)
        return tracking.MlflowTracker(uri, self.plan, self.provenance, search_id, self.output.name)

    def go(self) -> int:
        from tune.terminal import plan_lines

        for line in [*plan_lines(self.plan), f"output       {self.output}", ""]:
            self.progress.say(line)
        with stopping() as stop:
            try:
                searcher = self._run(stop)
            except Exception as error:
                return self._broke_off(error)
            if stop.is_set():
                return self._interrupted(searcher)
        return self._finish(searcher)

    def _broke_off(self, error: Exception) -> int:
        """Ray or this program failed; the ledger is whole."""
        (self.output / "error.log").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        if self.tracker is not None:
            self.tracker.close(self.output, interrupted=True)
        message = str(error).splitlines()[-1] if str(error) else ""
        return _fail(
            f"the search broke off: {type(error).__name__}: {message}; see {self.output}/error.log, "
            f"go on with: python tune/search.py --resume {self.output}",
            BROKE_OFF,
        )

    def _run(self, stop: threading.Event) -> Any:
        import ray
        import ray.tune
        from ray.tune import FailureConfig, PlacementGroupFactory, RunConfig, TuneConfig, Tuner

        from tune.mailbox import Switch
        from tune.scheduler import SearchScheduler
        from tune.searcher import LedgerSearcher
        from tune.trial import SLOT_MEMORY, SlotPlan, SlotTrial

        options, plan = self.options, self.plan
        switch = ray.remote(num_cpus=0)(Switch).remote()
        threading.Thread(target=_throw_when, args=(stop, switch), daemon=True).start()
        searcher = LedgerSearcher(
            self.ledger, self._strategy(), self.watchers, stop.is_set, self.ledger.noted("seconds") or 0.0
        )
        slot = SlotPlan(
            workers=options.workers_per_trial,
            cpus_per_worker=options.cpus_per_worker,
            gpus_per_worker=plan.gpus_per_worker,
            folder=str(self.ray_files / "slots"),
            checkpoint_every_s=CHECKPOINT_EVERY_S,
            switch=switch,
        )
        trainable = ray.tune.with_resources(
            ray.tune.with_parameters(SlotTrial, plan=slot), PlacementGroupFactory([{"memory": SLOT_MEMORY}])
        )
        scheduler = SearchScheduler(
            options.scheduler, plan.task.direction, plan.max_steps, options.evaluations, plan.slots
        )
        with self.progress:
            Tuner(
                trainable,
                tune_config=TuneConfig(
                    search_alg=searcher,
                    scheduler=scheduler,
                    num_samples=-1,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=RunConfig(
                    name="tune",
                    storage_path=str(self.ray_files),
                    verbose=0,
                    failure_config=FailureConfig(max_failures=2),
                ),
            ).fit()
        return searcher

    def _strategy(self) -> Any:
        from tune.searcher import Strategy

        return Strategy(
            space=self.plan.space,
            settings=self.plan.settings,
            direction=self.plan.task.direction,
            sampler=self.options.sampler,
            seed=self.options.seed,
            confirm=self.options.confirm,
            slots=self.plan.slots,
            rules=self.plan.rules(),
            folder=self.work,
        )

    def _interrupted(self, searcher: Any) -> int:
        self.ledger.note("seconds", searcher.spent().seconds)
        if self.tracker is not None:
            self.tracker.close(self.output, interrupted=True)
        self.progress.say(f"interrupted; go on with: python tune/search.py --resume {self.output}")
        return INTERRUPTED

    def _finish(self, searcher: Any) -> int:
        from tune import report, tracking
        from tune.events import tell

        spent = searcher.spent()
        self.ledger.note("seconds", spent.seconds)
        found = report.document(self.plan, self.ledger, spent, self.provenance)
        self._keep_best()
        report.write(found, self.output)
        if found["winner"] is not None:
            tell(self.watchers, "search_ended", found)
        if self.tracker is not None:
            self.tracker.close(self.output, interrupted=False)
            if self.tracker.error:
                self.progress.say(f"warning: MLflow tracking failed: {self.tracker.error}")
        look = tracking.look_at(self.tracker.uri) if self.tracker is not None else None
        if found["winner"] is None or found["confirmation"] is None:
            runs = [*found["trials"], *found["confirmation_runs"]]
            errors = sorted({run["error"] for run in runs if run["error"]})
            what = "no trial finished" if found["winner"] is None else "no confirmation finished"
            return _fail(f"{what}; {'; '.join(errors) or 'see search.json'}", NOTHING_FINISHED)
        for line in ["", *report.summary_lines(found, self.output, look)]:
            self.progress.say(line)
        return DONE

    def _keep_best(self) -> None:
        """The typical replicate's model becomes best/; everything else that was kept for a resume goes."""
        from tune import replicates

        winner = replicates.winner(self.ledger.records("search"), self.plan.task.direction)
        confirming = replicates.of(winner, self.ledger.records("confirm"))
        chosen = replicates.typical(confirming, self.plan.task.metric)
        if chosen is not None and (self.work / f"trial-{chosen.id}" / "model").is_dir():
            best = self.output / "best"
            shutil.rmtree(best, ignore_errors=True)
            shutil.move(self.work / f"trial-{chosen.id}" / "model", best)
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.ray_files, ignore_errors=True)


def _throw_when(stop: threading.Event, switch: Any) -> None:
    stop.wait()
    switch.throw.remote()


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second one ends the process now."""
    stop = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)
        stop.set()
        print("\nstopping: writing checkpoints (once more: stop now)", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
