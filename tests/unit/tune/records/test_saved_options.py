"""The options of a search, whatever of config.yaml and study.db a kill, a disk or a stranger left."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from dps.errors import InputError
from tests.unit.tune.helpers import make_space, open_ledger
from tune.core.options import CompareOptions, SearchOptions
from tune.core.parsing import write_options
from tune.planning import locations
from tune.records import ledger, saved_options
from tune.records.search_folder import SearchFolder
from tune.strategy.warm_start import read_earlier_searches

GIVEN = SearchOptions(task="rte", batch_size=8, trials=5, confirm=9)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a search whose first trial was begun."""
    output = tmp_path / "out"
    output.mkdir()
    held = open_ledger(output)
    SearchFolder(output, "max", {"": {"task": "rte"}}, None).write_config(GIVEN, "builtin", "builtin")
    held.replicate({"method": "vanilla", "learning_rate": 1e-4}, make_space(), 0, "search")
    return output


def resumed(folder: Path, **given: object) -> SearchOptions:
    return saved_options.load_resumed_options(SearchOptions(resume=folder, **given))


@pytest.mark.parametrize("left", [None, 0, 1, 0.5, -1, "zeros"])
def test_a_configuration_that_is_gone_or_cut_is_taken_from_the_ledger(
    folder: Path, left: float | str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "config.yaml"
    whole = file.read_bytes()
    if left is None:
        file.unlink()
    elif left == "zeros":
        file.write_bytes(bytes(len(whole)))
    else:
        file.write_bytes(whole[: int(left * len(whole)) if left == 0.5 else int(left)])
    options = resumed(folder, trials=7)
    assert (options.task, options.batch_size, options.trials, options.confirm) == ("rte", 8, 7, 9)
    assert "study.db has its options" in capsys.readouterr().err


def test_a_configuration_that_was_edited_counts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "config.yaml"
    file.write_text(file.read_text().replace("confirm: 9", "confirm: 3"))
    assert resumed(folder).confirm == 3
    assert capsys.readouterr().err == ""


def test_a_search_that_began_with_an_option_that_is_gone_goes_on_and_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "config.yaml"
    file.write_text(file.read_text() + "worth: 0.2\n")
    assert resumed(folder).confirm == 9
    assert "--worth, with which this search began, is gone" in capsys.readouterr().err


def test_a_resumed_search_has_no_other_output_folder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--output, --resume: a search goes on in its own folder"):
        resumed(folder, output=tmp_path / "other")


def test_a_search_that_has_begun_starts_from_no_other_one(folder: Path) -> None:
    with pytest.raises(InputError, match=r"--warm-start: .* goes on from its own trials"):
        resumed(folder, warm_start=str(folder))
    assert resumed(folder, warm_start=None).confirm == 9


def test_the_command_is_the_one_that_made_it(folder: Path) -> None:
    with pytest.raises(InputError, match=r"made by another command; use python tune/search\.py"):
        saved_options.load_resumed_options(CompareOptions(resume=folder))


def _half_made(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "study.db")) as held:
        held.execute("CREATE TABLE studies (study_id INTEGER)")


def _before_a_trial(folder: Path, configured: bool) -> None:
    open_ledger(folder).open({"task": "rte"})
    if configured:
        write_options(GIVEN, folder / "config.yaml")


@pytest.mark.parametrize(
    "killed",
    [
        lambda folder: (folder / "study.db").touch(),
        lambda folder: (
            sqlite3.connect(folder / "study.db").execute("CREATE TABLE studies (x)").connection.close()
        ),
        open_ledger,
        partial(_before_a_trial, configured=False),
        partial(_before_a_trial, configured=True),
    ],
)
def test_a_search_that_was_killed_before_its_first_trial_can_be_started_by_its_command(
    tmp_path: Path, killed: Callable[[Path], object]
) -> None:
    killed(tmp_path)
    locations.check_output(tmp_path, resume=False)
    if not (tmp_path / "config.yaml").exists():
        with pytest.raises(
            InputError, match=f"ended before it began; give its command again, with --output {tmp_path}"
        ):
            resumed(tmp_path)
    saved_options.clear_unstarted(tmp_path)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["notes.txt", "search.json", "best"])
def test_nothing_of_a_search_or_of_the_user_is_cleared(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").mkdir()
    open_ledger(tmp_path / "mine")
    (tmp_path / "mine" / name).write_text("of the user")
    for kept in (folder, tmp_path / "mine"):
        with pytest.raises(InputError, match="is not empty; choose another folder, or --resume"):
            locations.check_output(kept, resume=False)
        before = sorted(kept.iterdir())
        saved_options.clear_unstarted(kept)
        assert sorted(kept.iterdir()) == before


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"


@pytest.mark.parametrize("table", ["studies", "study_user_attributes", "trials"])
@pytest.mark.parametrize(
    "read",
    [
        ledger.check_ledger,
        lambda file: read_earlier_searches(str(file)),
        lambda file: resumed(file.parent),
    ],
    ids=["check_ledger", "warm start", "resume"],
)
@pytest.mark.timeout(30)
def test_a_view_without_an_end_is_refused_at_once(
    folder: Path, table: str, read: Callable[[Path], object]
) -> None:
    (folder / "config.yaml").unlink()
    with closing(sqlite3.connect(folder / "study.db")) as held:
        held.execute(f"DROP TABLE {table}")
        held.execute(
            f"CREATE VIEW {table} AS {ENDLESS} SELECT x AS study_name, x AS key, x AS value_json FROM n"
        )
    with pytest.raises(InputError, match=r"holds a view|holds no search"):
        read(folder / "study.db")


@pytest.mark.parametrize("name", ["work", "ray", "config.yaml", ".other"])
def test_a_folder_that_holds_a_link_is_not_taken_for_a_search_that_never_began(
    name: str, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    open_ledger(output)
    assert saved_options.is_unstarted(output)
    (output / name).symlink_to(tmp_path)
    assert not saved_options.is_unstarted(output)
    with pytest.raises(InputError, match=r"--output: .* is not empty"):
        locations.check_output(output, resume=False)
