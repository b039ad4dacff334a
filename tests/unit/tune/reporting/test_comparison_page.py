"""compare.html and the other files: every seed is drawn, and nothing in a name is markup."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console
from rich.text import Text

from dps.text import sanitise_text
from tests.unit.tune.reporting.test_page import Tags, figures, texts, titles
from tests.unit.tune.reporting.test_tables import THREE, made
from tune.records.comparison_document import ComparisonDocument
from tune.reporting import comparison_page, tables
from tune.reporting.figures.canvas import Plot

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(1)</script>{{ 7*7 }}\x1b[31m\u202e"


def test_each_comparison_has_its_sentences_tables_and_plot() -> None:
    comparisons = [made(task, evaluation_sets=["dev"]) for task in ("rte", "cola", "mrpc")]
    page = comparison_page.render_comparison_page(comparisons)
    text = Tags(page).text
    for document in comparisons:
        assert tables.format_heading(document) in text
        for line in tables.summarise_comparison(document):
            assert text.count(line) >= 1
        for table in (*tables.make_result_tables(document), *tables.make_cost_tables(document)):
            assert [cell for row in table.rows for cell in row if cell not in text] == []
    assert [*figures(page)][:3] == ["differences-0", "scores-0", "differences-1"]
    assert "could not be drawn" not in page


def draw(plot: Plot | None) -> ElementTree.Element:
    assert plot is not None
    return ElementTree.fromstring(f"<div>{plot.markup}</div>")


def test_every_seed_is_a_mark_in_scores_and_differences() -> None:
    document = made()
    scores = draw(comparison_page.plot_seed_scores(document))
    assert texts(scores, "label") == [*THREE]
    marks = [title for title in titles(scores) if title.startswith("seed")]
    assert sorted(marks) == sorted(
        f"seed {seed}: {score:.4f}" for row in THREE.values() for seed, score in enumerate(row, 1)
    )
    differences = draw(comparison_page.plot_method_differences(document))
    _, *others = THREE
    assert texts(differences, "label") == others
    assert len([title for title in titles(differences) if title.startswith("seed")]) == 3 * len(others)


def test_chance_is_a_line_where_it_is_near_and_a_number_where_it_is_far() -> None:
    near = draw(comparison_page.plot_seed_scores(made()))
    assert any(line.get("class") == "zero" for line in near.iter("line"))
    far = draw(
        comparison_page.plot_seed_scores(made(scores={"vanilla": [0.80, 0.81], "dps-mix": [0.82, 0.83]}))
    )
    assert not any(line.get("class") == "zero" for line in far.iter("line"))
    assert [text.text for text in far.iter("text")][-1] == "accuracy on dev; chance 0.527"


def hostile() -> ComparisonDocument:
    """A comparison in which every text that may come from users holds markup."""
    origin = {"folder": HOSTILE, "methods": [HOSTILE], "git_commit": HOSTILE, "git_dirty": True}
    document = made(
        HOSTILE, {HOSTILE: [0.5, 0.6], "dps-mix": [0.6, 0.7]}, sentences=[HOSTILE], joined=[origin]
    )
    document.results = {HOSTILE: document.main_result.model_copy(update={"metric": HOSTILE})}
    document.evaluation_sets = [HOSTILE]
    document.data.name = document.data.source = document.model.name = HOSTILE
    document.methods[1].configuration[HOSTILE] = HOSTILE
    return document


def test_hostile_names_stay_text() -> None:
    page = comparison_page.render_comparison_page([hostile()])
    tags = Tags(page)
    assert "script" not in tags.tags
    assert not {"img", "onerror"} & {*tags.tags, *(name for a in tags.attributes for name in a)}
    assert not {"\x1b", "\u202e"} & set(page)
    assert "{{ 7*7 }}" in tags.text
    assert any("<img" in label for plot in figures(page).values() for label in texts(plot, "label"))


def test_hostile_names_are_text_on_the_terminal_in_markdown_and_in_latex(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = hostile()
    found.task += "\n# heading [red] [x](http://x) ![y][z]"
    console = Console(width=500, force_terminal=True, highlight=False)
    for line in tables.summarise_comparison(found):
        console.print(Text(sanitise_text(line)))
    console.print(tables.make_terminal_table(found, 500))
    shown = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out.replace("\x1b[31m", "!"))
    assert not {"\x1b", "\u202e", "!"} & set(shown.replace("\\x1b[31m", ""))
    markdown = tables.render_markdown(found)
    assert not {"\x1b", "\u202e"} & set(markdown + tables.render_latex([found]))
    bare = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", markdown)  # what is outside code spans
    assert not re.search(r"<[A-Za-z/!?]|\]\(|\]\[", bare)
    assert [line for line in markdown.split("\n") if line.startswith("# ")] == []


def test_what_is_written(tmp_path: Path) -> None:
    comparison_page.write_comparisons([made()], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "compare.html", "compare.json", "compare.md", "compare.tex",
    ]  # fmt: skip
    assert json.loads((tmp_path / "compare.json").read_text(encoding="utf-8")) == made().to_json()
    before = (tmp_path / "compare.json").read_bytes()
    bad = made()
    bad.main_result.chance = math.nan
    with pytest.raises(ValueError, match="not JSON compliant"):
        comparison_page.write_comparisons([bad], tmp_path)
    assert (tmp_path / "compare.json").read_bytes() == before


def test_several_comparisons_are_written_together(tmp_path: Path) -> None:
    both = [made("rte"), made("cola")]
    comparison_page.write_comparisons(both, tmp_path)
    assert json.loads((tmp_path / "compare.json").read_text(encoding="utf-8")) == {
        "comparisons": [document.to_json() for document in both]
    }
    text = (tmp_path / "compare.md").read_text(encoding="utf-8")
    assert re.findall("^## .*", text, re.MULTILINE) == [
        "## rte, 2,490 training examples",
        "## cola, 2,490 training examples",
    ]
