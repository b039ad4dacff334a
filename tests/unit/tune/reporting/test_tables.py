"""A comparison to look at: the same figures in every form, and nothing in a name is markup."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from dps.methods import METHODS
from dps.tasks.registry import TASKS
from tests.unit.tune.helpers import PROVENANCE, SETTINGS, make_record
from tune.core.wording import format_difference
from tune.records.comparison_document import ComparisonDocument
from tune.records.schema import DifferenceSection
from tune.reporting import tables

HOSTILE = "a|b `x` ``y`` <script>alert(1)</script>\n# head [l](http://x) *b* $c$"
THREE = {
    "vanilla": [0.60, 0.62, 0.64],
    "vanilla-no-dropout": [0.6321, 0.6523, 0.6724],
    "dps-mix": [0.5271, 0.60, 0.63],
}


def method(name: str, trials: int = 4) -> dict[str, Any]:
    return {
        "method": name,
        "configuration": {"method": name, "learning_rate": 1.234e-4},
        "selection_score": 0.5,
        "space": {},
        "cost": {},
        "trials": [make_record()] * trials,
        "runs": [],
    }


def row(scores: list[float], chance: float, **difference: Any) -> dict[str, Any]:
    mean = float(np.mean(scores))
    told = {
        "mean": 0.032, "interval": [0.011, 0.053], "standard_error": 0.01, "seeds_part": 0.008,
        "examples_part": 0.006, "df": 7.5, "std": 0.02, "seeds": 3, "examples": 277, "level": 0.95,
        "p": 0.0061, "points": 3.2, "adjusted_p": 0.0123, "probability_better": 0.991,
    }  # fmt: skip
    answers = {"runs": len(scores), "collapsed": 0, "log_loss": 0.61234, "calibration_error": 0.0456}
    return {
        "scores": {str(seed): score for seed, score in enumerate(scores, start=1)},
        "mean": mean,
        "median": float(np.median(scores)),
        "std": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        "worst": min(scores),
        "best": max(scores),
        "not_above_chance": float(np.mean([score <= chance for score in scores])),
        "collapsed": 0.0,
        "collapsed_at_most": 0.632,
        "n": len(scores),
        "interval": [mean - 0.03, mean + 0.03],
        "others": {},
        "answers": {**answers, "ensemble": {**answers, "score": max(scores), "interval": [0.55, 0.75]}},
        "difference": {**told, **difference} if difference else None,
        "verdict": "worse than vanilla" if difference else None,
    }


def made(task: str = "rte", scores: dict[str, list[float]] = THREE, **changes: Any) -> ComparisonDocument:
    """A comparison by hand: the first method is the baseline, the second is better, the third is not told."""
    chance = 0.5271
    names = list(scores)
    rows = {names[0]: row(scores[names[0]], chance)}
    for number, name in enumerate(names[1:]):
        told = {"mean": 0.032} if number == 0 else {
            "mean": -0.034, "interval": [-0.0912, 0.0123], "adjusted_p": 0.1731, "probability_better": 0.09,
        }  # fmt: skip
        rows[name] = row(scores[name], chance, **told)
    cost = {
        "passes_per_run": 96.0, "seconds_per_run": 31.26, "peak_memory": 1.5 * 2**30, "passes": 500.0,
        "seconds": 432.1, "selected_share": None,
    }  # fmt: skip
    document = {
        "schema_version": 1,
        "task": task,
        "metric": "accuracy",
        "direction": "max",
        "data": {"source": "folder", "name": "glue", "fingerprint": "d" * 16},
        "model": {"source": "builtin", "name": "MiniLM", "fingerprint": "m" * 16},
        "plan": {
            "examples": {"train": 2490, "dev": 277},
            "max_steps": 75,
            "confirm_steps": 96,
            "slots": 2,
            "settings": SETTINGS.to_json(),
        },
        "provenance": replace(PROVENANCE, git_dirty=False),
        "budget": {
            "configurations": 4, "steps": 75, "confirm_steps": 96, "seeds": [1, 2, 3],
            "scheduler": "none", "sampler": "latin",
        },
        "covered": None,
        "evaluation_sets": ["dev"],
        "baseline": names[0],
        "methods": [method(name) for name in names],
        "results": {"dev": {"metric": "accuracy", "examples": 277, "chance": chance, "methods": rows}},
        "costs": {name: dict(cost) for name in names},
        "probe": {},
        "spent": {"seconds": 100.0, "slot_seconds": 90.0, "trials": 6, "cpu_hours": 0.025},
        "sentences": [f"{names[1]} is better than {names[0]} by 3.2 points."],
        **changes,
    }  # fmt: skip
    return ComparisonDocument.model_validate(document)


def difference_of(found: ComparisonDocument, name: str) -> DifferenceSection:
    difference = found.main_result.methods[name].difference
    assert difference is not None
    return difference


def shown(found: ComparisonDocument, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, record=True, highlight=False)
    console.print(tables.make_terminal_table(found, width))
    return "\n".join(line.rstrip() for line in console.export_text().splitlines())


NARROW = """\
method                mean     std  log loss         difference      p
vanilla             0.6200  0.0200    0.6123
vanilla-no-dropout  0.6523  0.0202    0.6123  +3.2 [+1.1, +5.3]  0.012
dps-mix             0.5857  0.0529    0.6123  -3.4 [-9.1, +1.2]  0.173"""
WIDE = """\
method                mean     std  median     worst to best  log loss  calibration error  not above chance         collapsed         difference      p  P(better)  ensemble  passes  seconds a run
vanilla             0.6200  0.0200  0.6200  0.6000 to 0.6400    0.6123             0.0456               0 %  0 % (up to 63 %)                                         0.6400      96           31.3
vanilla-no-dropout  0.6523  0.0202  0.6523  0.6321 to 0.6724    0.6123             0.0456               0 %  0 % (up to 63 %)  +3.2 [+1.1, +5.3]  0.012       0.99    0.6724      96           31.3
dps-mix             0.5857  0.0529  0.6000  0.5271 to 0.6300    0.6123             0.0456              33 %  0 % (up to 63 %)  -3.4 [-9.1, +1.2]  0.173       0.09    0.6300      96           31.3"""  # noqa: E501


@pytest.mark.parametrize(("width", "text"), [(70, NARROW), (77, NARROW), (195, WIDE), (250, WIDE)])
def test_the_table_of_the_terminal(width: int, text: str) -> None:
    assert shown(made(), width) == text


def test_the_table_of_the_terminal_has_the_columns_that_it_has_room_for() -> None:
    heads = [shown(made(), width).splitlines()[0] for width in range(70, 194)]
    assert all(max(map(len, shown(made(), width).splitlines())) <= width for width in (78, 100, 140, 192))
    assert all(set(NARROW.split()[:7]) <= set(head.split()) for head in heads)
    assert "median" in shown(made(), 80)


def test_columns_of_which_nothing_is_known_are_left_out() -> None:
    numbers = made()  # of a regression
    for one in numbers.main_result.methods.values():
        one.answers = None
    text = shown(numbers, 250)
    assert not {"log", "calibration", "ensemble"} & {*text.split()}
    assert "log loss" not in tables.render_markdown(numbers).split("Log loss, calibration")[0]


def test_no_difference_but_none_reads_zero() -> None:
    found = made()
    one = found.main_result.methods["vanilla-no-dropout"].difference
    assert one is not None
    for mean, interval, said in (
        (-0.0244, (-0.0477, -0.0004), "-2.44 [-4.77, -0.04]"),
        (0.0, (-0.01, 0.0104), "+0.0 [-1.0, +1.0]"),
    ):
        one.mean, one.interval = mean, interval
        assert said in shown(found, 80)
        assert said.replace("[", "(").replace(", ", " to ").replace("]", ")") == format_difference(
            mean, interval
        )


def test_the_longest_names_and_numbers_fit_a_screen_of_80() -> None:
    found = made(scores={"vanilla": [0.1, 0.2], **{name: [0.1, 0.2] for name in METHODS}})
    for one in found.main_result.methods.values():
        if one.difference:
            one.difference.mean, one.difference.interval = -1.0, (-1.0, 1.0)
    text = shown(found, 80)
    assert "…" not in text
    assert len(text.splitlines()) == 1 + len(METHODS)
    assert text.count("-100.0 [-100.0, +100.0]") == len(METHODS) - 1


@pytest.mark.parametrize(
    ("p", "text"),
    [(None, "-"), (0.0, "<0.001"), (0.00099, "<0.001"), (0.001, "0.001"), (0.5, "0.500"), (1.0, "1.000")],
)
def test_no_p_reads_as_0(p: float | None, text: str) -> None:
    found = made()
    difference_of(found, "dps-mix").adjusted_p = p
    assert list(tables.format_result_rows(found, "dev"))[2][tables.RESULT_COLUMNS.index("p")] == text


@pytest.mark.parametrize(
    ("probability", "text"),
    [(None, "-"), (0.0, "<0.01"), (0.0049, "<0.01"), (0.005, "0.01"), (0.5, "0.50"), (0.994, "0.99"),
     (0.996, ">0.99"), (1.0, ">0.99")],
)  # fmt: skip
def test_nothing_is_certain(probability: float | None, text: str) -> None:
    found = made()
    difference_of(found, "dps-mix").probability_better = probability
    assert list(tables.format_result_rows(found, "dev"))[2][tables.RESULT_COLUMNS.index("P(better)")] == text


def test_the_summary_says_what_it_rests_on() -> None:
    assert tables.summarise_comparison(made()) == [
        "vanilla-no-dropout is better than vanilla by 3.2 points.",
        "vanilla: mean accuracy 0.6200 (95 % interval 0.5900 to 0.6500, over 3 seeds and the 277 examples of "
        "dev; chance 0.5271).",
        "Each method: 4 configurations (latin, each run to its end) with one seed, ranked on holdout; the "
        "best of them trained on all training data for 96 steps with 3 fresh seeds, the same for all "
        "methods. Methods have equal numbers of configurations, steps and seeds, not of passes or seconds.",
        "Each method is represented by one configuration; intervals and p do not include the uncertainty of "
        "choosing it with one seed.",
        "All runs together: 100 s, 90 slot seconds, 0.025 CPU-hours.",
        "p is two-sided, corrected for 2 comparisons with the baseline on dev (Holm) and for looking again "
        "with more seeds; intervals are not corrected; there is no correction across evaluation sets, tasks "
        "or tables.",
    ]


def test_the_summary_is_true_where_less_was_done() -> None:
    two = {name: THREE[name] for name in list(THREE)[:2]}
    found = made(scores=two, evaluation_sets=["dev", "snli"], methods=[method("a", 2), method("b", 4)])
    found.budget.scheduler, found.budget.sampler = "asha", "tpe"
    found.plan.settings.select_on = "dev"
    text = "\n".join(tables.summarise_comparison(found))
    assert "Each method: 2 to 4 configurations (tpe, asha stops some) with one seed, ranked on dev" in text
    assert "ranked on dev, which is reported too: the means are optimistic" in text
    assert "p is two-sided, corrected for looking again with more seeds;" in text
    assert "Holm" not in text
    assert "Also tested on snli: see compare.md." in text
    found.plan.settings.patience = 2
    patient = "\n".join(tables.summarise_comparison(found))
    assert "trained on the training data but for a slice that chose the step (patience 2) for 96" in patient
    found.methods[0].differs = {"patience": "2"}
    assert "but what patience holds out" in "\n".join(tables.summarise_comparison(found))
    found.looks = [5, 20, 60]
    found.results["dev"].methods["vanilla"].interval = None
    later = "\n".join(tables.summarise_comparison(found))
    assert "corrected for looking 3 times (before with 5, 20 seeds);" in later
    assert "(over 3 seeds and the 277 examples" in later
    assert "4 configurations" not in "\n".join(
        tables.summarise_comparison(made(methods=[method(name, 1) for name in THREE]))
    )


def cells(line: str) -> list[str]:
    """The cells of a line of a Markdown table; an escaped bar is a bar."""
    inner = line.removeprefix("|").removesuffix("|")
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inner)]


def markdown_tables(text: str) -> list[list[list[str]]]:
    """Every table, as rows of cells."""
    blocks = re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    return [[cells(line) for line in block.splitlines()] for block in blocks]


def test_every_table_of_the_markdown_is_whole() -> None:
    found = made(
        evaluation_sets=["dev", "snli"], probe={name: {"cka_last": 0.5, "cka_first": 1.0} for name in THREE}
    )
    found.results["snli"] = found.main_result.model_copy(deep=True)
    for one in found.results["snli"].methods.values():
        one.others = {"f1": 0.25}
    text = tables.render_markdown(found)
    every = markdown_tables(text)
    assert len(every) == 6  # dev and its ensembles, snli and its, costs, probe
    for table in every:
        assert {len(line) for line in table} == {len(table[0])}
        assert set(table[1]) == {"---"}
        assert [line[0] for line in table[2:]] == list(THREE)
    assert every[0][0] == list(tables.RESULT_COLUMNS)
    assert every[1][0] == list(tables.ENSEMBLE_COLUMNS)
    assert every[1][2] == ["vanilla", "3", "0.6400", "0.5500 to 0.7500", "0.6123", "0.0456"]
    assert every[2][0] == [*tables.RESULT_COLUMNS, "f1"]
    assert every[0][3] == [
        "vanilla-no-dropout", "0.6523", "0.0202", "0.6523", "0.6321 to 0.6724", "0.6123", "0.0456",
        "0 %", "0 % (up to 63 %)", "+3.2 [+1.1, +5.3]",
        "0.012", "0.99",
    ]  # fmt: skip
    assert every[4][2] == ["vanilla", "96", "31.3", "1.50 GiB", "432", "vanilla  lr 0.000123"]
    assert every[5][0] == ["method", "cka_last"]
    assert text.count("commit `0123abc`.") == 1
    for line in tables.summarise_comparison(found):
        assert f"- {line}" in text


def test_a_bar_in_a_cell_stays_in_its_cell() -> None:
    found = made()
    found.methods[1].configuration["freeze"] = "a|b"
    (costs,) = [
        table
        for table in markdown_tables(tables.render_markdown(found))
        if table[0] == list(tables.COST_COLUMNS)
    ]
    assert {len(line) for line in costs} == {len(tables.COST_COLUMNS)}
    assert costs[3][-1].endswith("a|b")


def test_names_of_data_and_models_are_no_markup() -> None:
    found = made()
    found.data.name = found.model.name = HOSTILE
    text = tables.render_markdown(found)
    one_line = " ".join(HOSTILE.split())
    assert text.count(f"``` {one_line} ```") == 1  # the model's; a folder's place is nobody's business
    bare = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", text)  # what is outside code spans
    assert "script" not in bare
    assert "http" not in bare
    assert [line for line in text.splitlines() if line.startswith("# ")] == []


def test_a_joined_table_says_where_each_method_comes_from() -> None:
    origins = [
        {"folder": "runs/1", "methods": ["vanilla", "dps-mix"], "git_commit": "a" * 40, "git_dirty": False},
        {"folder": "runs/2", "methods": ["vanilla-no-dropout"], "git_commit": None, "git_dirty": True},
    ]
    last = tables.render_markdown(made(joined=origins)).strip().splitlines()[-1]
    assert last.endswith(
        f"; vanilla, dps-mix: commit `{'a' * 10}`; vanilla-no-dropout: commit `none` (changed)."
    )


def test_no_name_that_is_in_latex_can_hold_markup() -> None:
    for name in (*METHODS, *TASKS):
        assert re.fullmatch(r"[a-z0-9-]+", name), name


def test_latex_is_balanced_and_has_a_star_where_a_difference_is_told() -> None:
    other = made("cola", {"vanilla": [0.5, 0.6], "mixout": [0.1, 0.2]})
    text = tables.render_latex([made(), other])
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    assert lines == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"method & rte (2490) & cola (2490) \\",
        r"\midrule",
        r"vanilla & 62.0 (2.0) & 55.0 (7.1) \\",
        r"vanilla-no-dropout & 65.2 (2.0)* & -- \\",
        r"dps-mix & 58.6 (5.3) & -- \\",
        r"mixout & -- & 15.0 (7.1)* \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


@pytest.mark.parametrize(
    ("changes", "star"),
    [
        ({"adjusted_p": 0.049}, True),
        ({"adjusted_p": 0.05}, False),
        ({"adjusted_p": None}, False),
        ({"adjusted_p": 0.01, "interval": [-0.001, 0.05]}, False),
        ({"adjusted_p": 0.01, "interval": [-0.05, -0.001]}, True),
    ],
)
def test_a_star_needs_a_p_below_5_percent_and_an_interval_on_one_side(
    changes: dict[str, Any], star: bool
) -> None:
    found = made()
    for name, value in changes.items():
        setattr(difference_of(found, "vanilla-no-dropout"), name, value)
    assert ("*" in tables.render_latex([found]).split("vanilla-no-dropout")[1].splitlines()[0]) == star


def test_what_latex_would_read_as_a_command_is_escaped() -> None:
    task = r"a_b&50%$x#{\y}~^"
    (head,) = [line for line in tables.render_latex([made(task)]).splitlines() if line.startswith("method")]
    assert head == (
        r"method & a\_b\&50\%\$x\#\{\textbackslash{}y\}\textasciitilde{}\textasciicircum{} (2490) \\"
    )
