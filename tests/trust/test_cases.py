"""Every listed input comes to what is right, through the command line or the public API as a user has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trust.case import Case, collect_cases
from tests.trust.checkout import Checkout

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkout() -> Iterator[Checkout]:
    with Checkout(ROOT) as running:
        yield running


@pytest.mark.parametrize("case", collect_cases(), ids=lambda case: case.name)
def test_it_is_right(case: Case, checkout: Checkout, tmp_path: Path) -> None:
    outcome = checkout.run(case, tmp_path / "run")
    assert case.right(outcome), f"exit status {outcome.code}:\n{outcome.output}"
