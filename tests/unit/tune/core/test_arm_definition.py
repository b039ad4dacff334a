"""Arms as a user writes them: on the command line, in YAML, in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dps.errors import InputError
from tune.core.arm_definition import parse_arms
from tune.core.options import CompareOptions
from tune.core.parsing import format_options, parse_options

WRITTEN = {
    "vanilla": {"method": "vanilla"},
    "long": {"model": "bert-base-cased", "epochs": 10, "learning_rate": ["1e-5", "2e-5"]},
}
RATES = "learning_rate: [1e-5, 2e-5]"


@pytest.mark.parametrize(
    "value",
    [
        [["method=vanilla", "long: model=bert-base-cased,epochs=10,learning_rate=1e-5,2e-5"]],
        [{"method": "vanilla"}, "long: model=bert-base-cased, epochs=10, learning-rate=1e-5,2e-5"],
        WRITTEN,
        {"vanilla": "method=vanilla", "long": WRITTEN["long"]},
        ["{vanilla: {method: vanilla}, long: {model: bert-base-cased, epochs: 10, " + RATES + "}}"],
    ],
)
def test_arms_are_the_same_however_they_are_written(value: Any) -> None:
    assert parse_arms(value) == WRITTEN


def test_a_name_is_made_of_what_an_arm_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cleaned.csv").touch()
    arms = parse_arms(
        ["model=org/bert-base-cased,epochs=10", "files.train=cleaned.csv", {"files": {"train": "no.csv"}},
         "method=dps-dense,learning_rate=2e-5"]
    )  # fmt: skip
    assert arms == {
        "bert-base-cased+epochs-10": {"model": "org/bert-base-cased", "epochs": 10},
        "cleaned": {"files.train": str(tmp_path / "cleaned.csv")},  # found from another folder too
        "no": {"files.train": "no.csv"},
        "dps-dense+lr-2e-5": {"method": "dps-dense", "learning_rate": "2e-5"},
    }


def test_a_comma_in_the_name_of_a_file_separates_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a b, ü.csv"
    file.touch()
    (arm,) = parse_arms([f"method=vanilla,files.train={file},epochs=2"]).values()
    assert arm == {"method": "vanilla", "files.train": str(file), "epochs": 2}
    assert parse_arms(["selection_ratio=0.3,0.5"]) == {
        "selection_ratio--0.3-0.5": {"selection_ratio": [0.3, 0.5]}
    }


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["files.train=a.csv,b.csv"], "files.train must be one file, but got ['a.csv', 'b.csv']"),
        (
            ["method=vanilla", "method=vanilla"],
            "two arms are named vanilla; name them (NAME: key=value)",
        ),
        (["a/b: method=vanilla"], "arm 1 needs a name of letters, digits and . _ + - (NAME: key=value)"),
        (["vanilla"], "must be {name: value, ...} or name=value"),
    ],
)
def test_what_is_no_arm_is_refused(argv: list[str], says: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_options(["--arms", *argv], CompareOptions)
    assert says in str(refused.value)


def test_arms_are_kept_as_they_were_named(tmp_path: Path) -> None:
    options = parse_options(
        ["--arms", "method=vanilla", "b: epochs=2", "--baseline", "b", "--tune", "none"], CompareOptions
    )
    (tmp_path / "config.yaml").write_text(format_options(options), encoding="utf-8")
    again = parse_options(["--config", str(tmp_path / "config.yaml")], CompareOptions)
    assert again.arm_definitions == options.arm_definitions
    assert list(again.arm_definitions) == ["b", "vanilla"]  # the baseline first
    assert again.arm_definitions["b"].methods == ("vanilla",)
