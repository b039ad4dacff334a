"""What the README and the table of methods name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dps.methods import METHODS
from dps.tasks import registry

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
METHODS_PAGE = (ROOT / "docs/methods.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_link_leads_to_a_file(document: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / document).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_table_of_methods_names_each_once() -> None:
    assert sorted(re.findall(r"^\| `([a-z0-9-]+)` \|", METHODS_PAGE, re.MULTILINE)) == sorted(METHODS)


def test_every_task_is_named() -> None:
    found = re.search(r"^Tasks: ([^.]+)\.", README, re.MULTILINE)
    assert found is not None
    assert found.group(1).split(", ") == list(registry.TASKS)


def test_the_readme_can_be_read_in_five_minutes() -> None:
    assert len(README.splitlines()) <= 170


def test_the_table_of_methods_has_what_each_costs() -> None:
    costs = dict(re.findall(r"^\| `([a-z0-9-]+)` \|.*\| (.+) \|$", METHODS_PAGE, re.MULTILINE))
    for name, method in METHODS.items():
        cost = method().cost
        known = {
            "a pass a step": cost.extra_passes,
            "an epoch before training": cost.calibration_epochs,
            f"{cost.evaluations:g} evaluations": cost.evaluations,
            f"{cost.extra_bytes:g} byte{'s'[: cost.extra_bytes > 1]} a weight": cost.extra_bytes,
        }
        said = {part for part in costs[name].split(", ") if re.match("a pass|an epoch|[0-9]", part)}
        assert said == {text for text, value in known.items() if value}, name
