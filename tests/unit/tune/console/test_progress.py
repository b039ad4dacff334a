"""What the user sees: plain lines, pinned, and a live table that fits its screen."""

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from dps.ranges import Choice
from dps.training.result import Outcome
from tests.unit.tune.helpers import (
    change_spaces,
    make_evaluation,
    make_plan,
    make_record,
    make_replicate,
    make_space,
)
from tune.console.outlook import count_phases, find_leading
from tune.console.plan import format_plan
from tune.console.progress import ProgressDisplay, make_console
from tune.core.wording import format_clock, format_configuration
from tune.records.ledger import TrialRecord

DENSE = {"method": "dps-dense", "learning_rate": 1.23456e-4, "selection_ratio": 0.7, "freeze": "update"}
PLAIN = """\
task         cola
00:00  trial 0 started: dps-dense  lr 0.000123  selection_ratio 0.7  update  seed 0
00:00  trial 0 step 20/60: matthews_correlation 0.2500
00:00  trial 0 completed: matthews_correlation 0.5000  (leading: trial 0, 0.5000 of one seed)
warning: trial 0: [bold]slow[/bold]
00:00  trial 1 started: vanilla  lr 0.0001  seed 0
00:00  trial 1 failed, RuntimeError: no [x.py:3]  (leading: trial 0, 0.5000 of one seed)
00:00  race-0 (trial 0, seed 1000) started: dps-dense  lr 0.000123  selection_ratio 0.7  update
00:00  confirm-1 (trial 1, seed 1) started: vanilla  lr 0.0001
00:00  confirm-1 (trial 1, seed 1) completed: matthews_correlation 0.6100
00:00  confirm-2 (published values, seed 2) started: vanilla  lr 2e-05
"""


RACED = [
    make_record(0, scores=[(60, 0.9)], configuration=DENSE),  # lucky
    *(
        make_record(n, scores=[(60, 0.5 + n / 100)], configuration=DENSE | {"selection_ratio": n / 10})
        for n in (1, 2)
    ),
    make_record(3, scores=[(60, 0.5)]),
    make_record(0, id="race-0", purpose="race", seed=1000, scores=[(60, 0.2)], configuration=DENSE),
    make_record(
        1,
        id="race-1",
        purpose="race",
        seed=1000,
        scores=[(60, 0.6)],
        configuration=DENSE | {"selection_ratio": 0.2},
    ),
]


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
        race = {"id": "race-0", "purpose": "race", "seed": 1000}
        shown.trial_started(make_record(0, Outcome.RUNNING, configuration=DENSE, **race))
        shown.trial_started(make_record(1, Outcome.RUNNING, id="confirm-1", purpose="confirmation", seed=1))
        shown.trial_ended(make_replicate(1, 0.61))
        published = {"method": "vanilla", "learning_rate": 2e-5}
        shown.trial_started(replace(make_replicate(2, 0.6), outcome=Outcome.RUNNING, configuration=published))
    assert file.getvalue() == PLAIN


def test_what_is_given_to_an_arm_without_trials_is_not_called_the_published_values() -> None:
    file = io.StringIO()
    display = progress(file, width=200)
    given = replace(make_replicate(1, 0.6), id="clean:confirm-1", outcome=Outcome.RUNNING)
    display.trial_started(given)
    assert file.getvalue() == "00:00  clean:confirm-1 (seed 1) started: vanilla  lr 0.0001\n"
    display.console.print(display.render())
    assert re.search(r"^clean: seed 1 ", file.getvalue(), re.MULTILINE)


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


def test_a_collapsed_trial_is_told_as_one() -> None:
    file = io.StringIO()
    display = progress(file, width=200)
    display.trial_ended(make_record(4, scores=[(20, 0.0)], top_share=1.0))
    assert file.getvalue().startswith("00:00  trial 4 completed, collapsed: matthews_correlation 0.0000")
    display.console.print(display.render())
    assert re.search(r"^4 .* 0\.0000 +collapsed$", file.getvalue(), re.MULTILINE)


def test_the_score_of_a_diverged_trial_is_not_shown_as_its_result() -> None:
    file = io.StringIO()
    progress(file, width=200).trial_ended(make_record(4, Outcome.DIVERGED, scores=[(20, 0.4)]))
    assert file.getvalue().strip() == "00:00  trial 4 diverged"


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
    assert f"explore {(trials + 1) // 2}/64 > race 0/9 > confirm 0/10" in file.getvalue()


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
    assert live(records, width=40, height=20)[:6] == [
        "trial        step  score   outcome",
        "0            60    0.2500  out-of-memory",
        "child-tuni…  -     -       running",
        "explore 1/64 > race 0/9 > confirm 0/10",
        "1 running",
        "elapsed 00:00",
    ]
    (row,) = [line for line in live(records, width=60, height=20) if line.startswith("0 ")]
    assert re.fullmatch(r"0 +dps-dense .*…  60    0\.2500  out-of-memory", row)


def test_with_many_slots_what_runs_is_shown_before_what_is_over() -> None:
    over = [make_record(n, scores=[(60, 0.1)]) for n in range(3, 90)]
    running = [make_record(n, Outcome.RUNNING) for n in (0, 1, 2)]
    lines = live([*running, *over], width=100, height=20)
    assert [line.split()[0] for line in lines[1:11]] == ["0", "1", "2", *map(str, range(83, 90))]
    assert lines[11].startswith("explore 87/90 > race 0/9 > confirm 0/10  3 running  elapsed")
    lines = live([make_record(n, Outcome.RUNNING) for n in range(64)], width=100, height=20)
    assert [line.split()[0] for line in lines[1:11]] == [str(n) for n in range(54, 64)]
    assert "explore 0/64 > race 0/9 > confirm 0/10  64 running" in lines[11]


@pytest.mark.parametrize(("winner", "total"), [(0.0001, 5), (0.0002, 10)])
def test_the_phases_have_counts_that_become_exact(winner: float, total: int) -> None:
    """A race that was cut off has what it had, and published values that win are not confirmed twice."""
    published = make_record(0)
    own = published.configuration | {"learning_rate": winner}
    confirmed = [make_replicate(seed, 0.5) for seed in (1, 2)]
    confirmed += [replace(make_replicate(seed + 2, 0.5), configuration=own, seed=seed) for seed in (1, 2)]
    trials = [make_record(n, scores=[(60, 0.5)]) for n in range(8)]
    race = [make_record(n, id=f"race-{n}", purpose="race", seed=1000 + n) for n in range(4)]
    plan = make_plan()
    assert [str(phase) for phase in count_phases(plan, trials)] == ["explore 8/8", "race 0/9", "confirm 0/10"]
    counted = [str(phase) for phase in count_phases(plan, [*trials, *race, *confirmed])]
    assert counted == ["explore 8/8", "race 4/4", f"confirm 4/{total}"]


def test_baselines_that_are_tuned_while_the_winner_is_confirmed_are_still_counted() -> None:
    plan = make_plan(trials=2)
    plan = change_spaces(plan, {"": plan.space, "vanilla": make_space(("vanilla",))})
    trials = [make_record(n, scores=[(60, 0.5)]) for n in range(2)]
    race = [make_record(n, id=f"race-{n}", purpose="race", seed=1000 + n) for n in range(5)]
    records = [*trials, *race, make_replicate(1, 0.5)]  # a budget cut off the race of the search
    assert [str(phase) for phase in count_phases(plan, records)][:2] == ["explore 2/5", "race 5/11"]
    own = make_record(0, id="vanilla:0", scores=[(60, 0.5)])
    assert [str(phase) for phase in count_phases(plan, [*records, own])][:2] == ["explore 3/5", "race 5/11"]
    begun = make_record(0, id="vanilla:confirm-0", purpose="confirmation")  # after one trial, for the budget
    assert [str(phase) for phase in count_phases(plan, [*records, own, begun])][:2] == [
        "explore 3/3",
        "race 5/5",
    ]


def test_a_search_that_takes_longer_than_planned_is_not_said_to_be_over() -> None:
    shown = progress(io.StringIO())
    shown.began, shown.expectation = shown.began - 4000, (600.0, shown.began - 4000)
    assert "longer than expected" in shown._build_status()[1].plain


def test_what_leads_does_so_by_the_mean_of_its_seeds_not_by_a_lucky_one() -> None:
    lines = live(RACED, width=100, height=30)
    assert lines[-2] == "leading: trial 2, mean 0.5600 of 2 seeds"
    table = progress(io.StringIO(), RACED, width=100, height=30).render().renderables[0]
    bold = [line.split("  ")[0] for line, row in zip(lines[1:], table.rows, strict=False) if row.style]
    assert bold == ["2", "2, seed 1000"]


def test_nothing_leads_whose_mean_is_not_known() -> None:
    """A seed diverged, and what a run scores that learnt nothing is not known."""
    plan = make_plan()
    plan = plan.change_arms(preview=replace(plan.preview, chance_level=None))
    lost = {"outcome": Outcome.DIVERGED, "purpose": "race", "seed": 1000, "scores": []}
    records = [make_record(0, scores=[(60, 0.5)]), make_record(0, id="race-0", **lost)]
    assert find_leading(plan, records[:1]) is not None
    assert find_leading(plan, records) is None


@pytest.mark.parametrize("no_color", [False, True])
def test_colour_is_left_out_where_it_is_not_wanted(no_color: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1") if no_color else monkeypatch.delenv("NO_COLOR", raising=False)
    file = io.StringIO()
    shown = progress(file, RACED, force_terminal=True, width=100, height=30)
    shown.console.print(shown.render())
    shown.warn("slow")
    assert ("\x1b[3" in file.getvalue()) == (not no_color)  # a colour; bold is 1


@pytest.mark.parametrize("width", [60, 80, 120])
def test_words_are_not_broken_and_stand_under_one_another(width: int) -> None:
    line = "baselines    " + " ".join(f"word{n}" for n in range(60))
    command = "interrupted; go on with: " + "x/" * 100
    file = io.StringIO()
    shown = progress(file, force_terminal=True, color_system=None, width=width, height=30)
    shown.say(line)
    printed = file.getvalue().splitlines()
    assert max(map(len, printed)) <= width
    assert " ".join(" ".join(printed).split()) == " ".join(line.split())
    assert all(row.startswith(" " * 13 + "word") for row in printed[1:])
    shown.say(command)  # to be copied
    assert file.getvalue().splitlines()[-1] == command


def test_on_a_terminal_the_events_are_in_the_table_and_not_in_lines() -> None:
    file = io.StringIO()
    with progress(file, force_terminal=True, color_system=None, width=120, height=30) as shown:
        shown.trial_started(make_record(0, Outcome.RUNNING))
        shown.trial_ended(make_record(0, scores=[(60, 0.5)], warnings=["slow"]))
    assert "trial 0 started" not in file.getvalue()
    assert "warning: trial 0: slow" in file.getvalue()
    assert re.search(r"^0 +vanilla.* 60 +0\.5000 +completed", file.getvalue(), re.MULTILINE)


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
    assert format_plan(plan)[-1] == "expected     about 02:43, 0.16 CPU-hours, cost 0.25"


@pytest.mark.parametrize(
    ("arms", "rates", "said"),
    [
        (["vanilla"], 3, "vanilla, at the best of 3 learning rates, of which 2 race: 3 trials"),
        (["vanilla"], 1, "vanilla, with a single learning rate: 1 trial "),
        (["vanilla", "top-k"], 1, "vanilla, top-k, each with a single configuration: 2 trials"),
    ],
)
def test_the_plan_says_over_what_baselines_are_tuned(arms: list[str], rates: int, said: str) -> None:
    plan = make_plan()
    learning_rate = {"learning_rate": Choice(tuple(1e-5 * n for n in range(1, rates + 1)))}
    spaces = {}
    for arm in arms:
        space = plan.space.for_baseline(arm)
        more = {"epochs": Choice((4,))} if len(arms) > 1 else {}
        spaces[arm] = replace(space, parameters={**learning_rate, **more})
    (line,) = [x for x in format_plan(change_spaces(plan, {"": plan.space, **spaces})) if "baselines " in x]
    assert said in line


def test_the_plan_says_of_each_baseline_over_what_it_is_tuned_where_they_differ() -> None:
    plan = make_plan()
    spaces = {arm: plan.space.for_baseline(arm) for arm in ("vanilla", "top-k")}
    spaces["vanilla"] = replace(spaces["vanilla"], parameters={"learning_rate": Choice((1e-5,))})
    (line,) = [x for x in format_plan(change_spaces(plan, {"": plan.space, **spaces})) if "baselines " in x]
    assert (
        "; vanilla, with a single learning rate; top-k, at the best of 3 learning rates, of which 2" in line
    )
    assert "4 trials, 6 race runs and" in line


def test_the_plan_says_what_was_chosen() -> None:
    plan = make_plan()
    space = plan.space.for_baseline("vanilla-no-dropout")
    assert format_plan(change_spaces(plan, {"": plan.space, "vanilla-no-dropout": space})) == [
        "task         cola (matthews_correlation, max)",
        "data         built-in generator (named): 800 train, 400 dev",
        "texts        none has more than 128 tokens",
        "model        built-in MiniLM encoder (named)",
        "selected on  holdout; reported on dev with 5 fresh seeds",
        "searching    8 trials of at most 60 steps, tpe + asha",
        "  method           dps-dense | vanilla",
        "  learning_rate    3e-05 to 0.0005, log scale",
        "  selection_ratio  0.2 to 0.9",
        "  update_ratio     0.05 to 0.25, log scale",
        "first        the published values: 2 trials; then 6 at random (tpe not before the 9th)",
        "racing       the best 3: 3 further seeds each, 9 runs",
        "confirming   the winner: 5 runs of 75 steps",
        "baselines    the published values, unless they win; vanilla-no-dropout, at the best of 3 "
        "learning rates, of which 2 race: 3 trials, 6 race runs and 10 runs on the same seeds",
        "power        5 pairs: can detect a difference of 22 points if pairs vary by 10 (standard "
        "deviation), of 7 if they vary by 3 (80 % power)",
        "slots        2 x 1 worker x 1 thread; local Ray on loopback, 2 cores",
        "precision    fp32 (auto: this CPU has no bf16 in hardware)",
        "disk         up to 1.0 GiB at a time",
        "expected     about 04:09, 0.13 CPU-hours",
    ]
