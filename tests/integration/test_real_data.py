"""The published GLUE files, where DPS_DATA_DIR names a folder that holds them under glue/."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from dps.sources.folder import FolderSource
from dps.tasks import get

DATA = os.environ.get("DPS_DATA_DIR", "")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not DATA, reason="DPS_DATA_DIR is not set: no real data to read"),
]

COUNTS = {"cola": (8551, 1043), "rte": (2490, 277), "mrpc": (3668, 408), "stsb": (5749, 1500)}

FIRST: dict[str, dict[str, Any]] = {
    "cola": {
        "sentence": "Our friends won't buy this analysis, let alone the next one we propose.",
        "label": 1,
    },
    "rte": {
        "sentence1": "No Weapons of Mass Destruction Found in Iraq Yet.",
        "sentence2": "Weapons of Mass Destruction Found in Iraq.",
        "label": 1,
    },
    "mrpc": {
        "sentence1": 'Amrozi accused his brother, whom he called "the witness",'
        " of deliberately distorting his evidence.",
        "sentence2": 'Referring to him as only "the witness", Amrozi accused his brother'
        " of deliberately distorting his evidence.",
        "label": 1,
    },
    "stsb": {"sentence1": "A plane is taking off.", "sentence2": "An air plane is taking off.", "label": 5.0},
}


@pytest.fixture
def source() -> FolderSource:
    return FolderSource(Path(DATA) / "glue")


@pytest.mark.parametrize("task", COUNTS)
def test_row_counts(source: FolderSource, task: str) -> None:
    assert tuple(len(source.load(get(task), split)) for split in ("train", "dev")) == COUNTS[task]


@pytest.mark.parametrize("task", FIRST)
def test_first_row(source: FolderSource, task: str) -> None:
    assert source.load(get(task), "train")[0] == FIRST[task]


def test_the_byte_order_mark_of_mrpc_is_there_and_handled(source: FolderSource) -> None:
    assert (Path(DATA) / "glue" / "MRPC" / "train.tsv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert set(source.load(get("mrpc"), "train")["label"][:]) == {0, 1}


def test_cola_is_read_fast(source: FolderSource) -> None:
    source.load(get("cola"), "dev")
    start = time.process_time()
    source.load(get("cola"), "train")
    assert time.process_time() - start < 0.5
