"""What the user sees: plain lines, pinned, and a live table that fits its screen."""

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from dps.training.result import Outcome
from tests.unit.tune.helpers import make_evaluation, make_plan, make_record, make_replicate
from tune.console.plan import format_plan
from tune.console.progress import ProgressDisplay, make_console
from tune.core.wording import format_clock, format_configuration
from tune.records.ledger import TrialRecord

DENSE = {"method": "dps-dense", "learning_rate": 1.23456e-4, "selection_ratio": 0.7, "freeze": "update"}
PLAIN = """\
task         cola
00:00  trial 0 started: dps-dense  lr 0.000123  selection_ratio 0.7  update  seed 0
00:00  trial 0 step 20/60: matthews_correlation 0.2500
00:00  trial 0 completed: matthews_correlation 0.5000  (best now 0.5000, trial 0)
warning: trial 0: [bold]slow[/bold]
00:00  trial 1 started: vanilla  lr 0.0001  seed 0
00:00  trial 1 failed, RuntimeError: no [x.py:3]  (best now 0.5000, trial 0)
00:00  trial confirm-1 started: vanilla  lr 0.0001  seed 1
00:00  trial confirm-1 completed: matthews_correlation 0.6100
"""


def progress(
    file: io.StringIO, earlier: list[TrialRecord] | None = None, **console: object
) -> ProgressDisplay:
    return ProgressDisplay(
        make_plan(trials=64), earlier or [], console=Console(file=file, highlight=False, **console)
    )  # type: ignore[arg-type]


def test_without_a_terminal_there_are_plain_lines() -> None:
    file = io.StringIO()
    with progress(file, force_terminal=False, width=40) as shown:
        shown.say("task         cola")
        record = make_record(0, Outcome.RUNNING, configuration=DENSE)
        shown.trial_started(record)
        record.scores.append((20, 0.25))
        shown.trial_reported(record, make_evaluation(20, 0.25))
        shown.trial_ended(
            make_record(
                0, configuration=DENSE, scores=[(20, 0.25), (60, 0.5)], warnings=["[bold]slow[/bold]"]
            )
        )
        shown.trial_started(make_record(1, Outcome.RUNNING))
        shown.trial_ended(make_record(1, Outcome.FAILED, error="RuntimeError: no [x.py:3]"))
        shown.trial_started(make_record(1, Outcome.RUNNING, id="confirm-1", purpose="confirmation", seed=1))
        shown.trial_ended(make_replicate(1, 0.61))
    assert file.getvalue() == PLAIN


@pytest.mark.parametrize(
    ("is_tty", "variables", "is_live"),
    [
        (True, {"TERM": "xterm-256color"}, True),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": ""}, False),
        (True, {}, False),
        (False, {"TERM": "xterm-256color", "FORCE_COLOR": "1"}, False),
    ],
)
def test_only_a_terminal_that_can_move_its_cursor_has_a_live_table(
    monkeypatch: pytest.MonkeyPatch, is_tty: bool, variables: dict[str, str], is_live: bool
) -> None:
    for name in ("TERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    file = io.StringIO()
    monkeypatch.setattr(file, "isatty", lambda: is_tty)
    monkeypatch.setattr(sys, "stdout", file)
    console = make_console()
    assert console.is_terminal == is_live
    console.print("[bold]x[/bold]")
    assert ("\x1b" in file.getvalue()) == is_live


def test_what_is_left_of_a_resumed_search_is_told_by_this_session_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = progress(io.StringIO(), [make_record(number) for number in range(30)])
    now = shown.began
    monkeypatch.setattr("time.monotonic", lambda: now + 10)
    assert shown.expected_left() == pytest.approx(shown.plan.estimate.seconds - 10)
    for number in (30, 31):
        shown.trial_ended(make_record(number))
    assert shown.expected_left() == pytest.approx(10 / 2 * (shown.total - 32))


def test_a_collapsed_trial_is_told_as_one() -> None:
    file = io.StringIO()
    progress(file, width=200).trial_ended(make_record(4, scores=[(20, 0.0)], top_share=1.0))
    assert file.getvalue().startswith("00:00  trial 4 completed, collapsed: matthews_correlation 0.0000")


def test_the_score_of_a_diverged_trial_is_not_shown_as_its_result() -> None:
    file = io.StringIO()
    progress(file, width=200).trial_ended(make_record(4, Outcome.DIVERGED, scores=[(20, 0.4)]))
    assert file.getvalue().startswith("00:00  trial 4 diverged  (best")


@pytest.mark.parametrize("width", [40, 60, 200])
@pytest.mark.parametrize("trials", [0, 4, 64])
@pytest.mark.parametrize("height", [15, 25])
def test_the_live_table_fits_its_screen(width: int, trials: int, height: int) -> None:
    records = [
        make_record(
            n, Outcome.RUNNING if n % 2 else Outcome.COMPLETED, configuration=DENSE, scores=[(20, n / 100)]
        )
        for n in range(trials)
    ]
    file = io.StringIO()
    shown = progress(file, records, force_terminal=True, color_system=None, width=width, height=height)
    shown.console.print(shown.render())
    lines = file.getvalue().splitlines()
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    newest = [line for line in lines if line.startswith(f"{trials - 1} ")]
    assert len(newest) == (1 if trials else 0)
    assert all(re.search(rf" 20 +{(trials - 1) / 100:.4f} +running", line) for line in newest)
    assert f"{(trials + 1) // 2}/74 done" in file.getvalue()


def live(records: list[TrialRecord], **console: int) -> list[str]:
    """The lines of the live table."""
    file = io.StringIO()
    shown = progress(file, records, force_terminal=True, color_system=None, **console)
    shown.console.print(shown.render())
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_on_a_narrow_screen_nothing_is_cut_but_the_names_of_trials() -> None:
    records = [
        make_record(0, Outcome.OUT_OF_MEMORY, configuration=DENSE, scores=[(60, 0.25)]),
        make_record(1, Outcome.RUNNING, id="child-tuning-d:confirm-0", purpose="confirmation"),
    ]
    narrow = live(records, width=40, height=20)
    assert narrow.pop(4).startswith("elapsed 00:0")
    assert narrow == [
        "trial        step  score   outcome",
        "0            60    0.2500  out-of-memory",
        "child-tuni…  -     -       running",
        "1/74 done, 1 running",
        "(best now 0.2500, trial 0)",
    ]
    (row,) = [line for line in live(records, width=60, height=20) if line.startswith("0 ")]
    assert re.fullmatch(r"0 +dps-dense .*…  60    0\.2500  out-of-memory", row)


def test_with_many_slots_what_runs_is_shown_before_what_is_over() -> None:
    over = [make_record(n, scores=[(60, 0.1)]) for n in range(3, 90)]
    running = [make_record(n, Outcome.RUNNING) for n in (0, 1, 2)]
    lines = live([*running, *over], width=100, height=20)
    assert [line.split()[0] for line in lines[1:-1]] == ["0", "1", "2", *map(str, range(81, 90))]
    assert lines[-1].startswith("87/74 done, 3 running  elapsed")
    lines = live([make_record(n, Outcome.RUNNING) for n in range(64)], width=100, height=20)
    assert [line.split()[0] for line in lines[1:-1]] == [str(n) for n in range(52, 64)]
    assert "0/74 done, 64 running" in lines[-1]


@pytest.mark.parametrize(
    ("ended", "passed", "said"),
    [(0, 10, "left about 13:1"), (0, 4000, "longer than expected"), (74, 4000, "left about 00:00"),
     (90, 4000, "left about 00:00")],
)  # fmt: skip
def test_what_is_left_is_not_said_to_be_nothing(ended: int, passed: float, said: str) -> None:
    shown = progress(io.StringIO(), [make_record(n) for n in range(ended)])
    shown.began -= passed
    assert said in shown._status("  ")


def test_on_a_terminal_the_events_are_in_the_table_and_not_in_lines() -> None:
    file = io.StringIO()
    with progress(file, force_terminal=True, color_system=None, width=120, height=30) as shown:
        shown.trial_started(make_record(0, Outcome.RUNNING))
        shown.trial_ended(make_record(0, scores=[(60, 0.5)], warnings=["slow"]))
    assert "trial 0 started" not in file.getvalue()
    assert "warning: trial 0: slow" in file.getvalue()
    assert re.search(r"^0 +vanilla.* 60 +0\.5000 +completed", file.getvalue(), re.MULTILINE)


@pytest.mark.parametrize(("direction", "best"), [("cola", "1")])
def test_the_best_now_is_of_the_search(direction: str, best: str) -> None:
    shown = progress(io.StringIO(), [make_record(n, scores=[(60, s)]) for n, s in enumerate((0.5, 0.7, 0.6))])
    shown.trial_ended(make_replicate(9, 0.99))
    found = shown.best()
    assert found is not None
    assert found.id == best


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "00:00"), (59.9, "00:59"), (61, "01:01"), (3600, "1:00:00"), (90061, "25:01:01")],
)
def test_clock(seconds: float, text: str) -> None:
    assert format_clock(seconds) == text


def test_brief_has_every_value_once() -> None:
    assert format_configuration(DENSE) == "dps-dense  lr 0.000123  selection_ratio 0.7  update"


def test_with_a_price_the_plan_says_what_it_will_cost() -> None:
    plan = make_plan(price=1.5, workers_per_trial=2)
    assert format_plan(plan)[-1] == "expected     about 02:37, 0.16 CPU-hours, cost 0.24"


def test_the_plan_says_what_was_chosen() -> None:
    plan = make_plan()
    space = plan.space.for_baseline("vanilla-no-dropout")
    assert format_plan(replace(plan, arms={**plan.arms, "vanilla-no-dropout": space})) == [
        "task         cola (matthews_correlation, max)",
        "data         built-in generator (named): 800 train, 400 dev",
        "texts        none has more than 128 tokens",
        "model        built-in MiniLM encoder (named)",
        "selected on  holdout; reported on dev, 5 fresh seeds",
        "searching    8 trials of at most 60 steps, tpe + asha",
        "  method           dps-dense | vanilla",
        "  learning_rate    3e-05 to 0.0005, log scale",
        "  selection_ratio  0.2 to 0.9",
        "  update_ratio     0.05 to 0.25, log scale",
        "beginning    with the published values: 2 trials",
        "racing       the promising ones on up to 3 further seeds each, at most 150% of what the trials took",
        "confirming   the winner: 5 runs of 75 steps",
        "baselines    the published values, unless they win; vanilla-no-dropout, each at the best of 3 "
        "learning rates: 3 trials and 10 runs on the same seeds",
        "telling      5 pairs: a difference of 2.2 times the standard deviation between pairs is told (80 % "
        "power)",
        "slots        2 x 1 worker(s) x 1 thread; local Ray on loopback, 2 cores",
        "precision    fp32 (auto: this CPU has no bf16 in hardware)",
        "expected     about 03:26, 0.1 CPU-hours",
    ]
