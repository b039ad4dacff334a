"""Published data, where DPS_DATA_DIR names a folder that holds the GLUE files under glue/ and those of
natural language inference under nli/."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dps.sources.folder import FolderSource
from dps.tasks import transfer
from dps.tasks.registry import get_task
from tests.timing import measure_cpu_seconds

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
    assert tuple(len(source.load(get_task(task), split)) for split in ("train", "dev")) == COUNTS[task]


@pytest.mark.parametrize("task", FIRST)
def test_first_row(source: FolderSource, task: str) -> None:
    assert source.load(get_task(task), "train")[0] == FIRST[task]


def test_the_byte_order_mark_of_mrpc_is_there_and_handled(source: FolderSource) -> None:
    assert (Path(DATA) / "glue" / "MRPC" / "train.tsv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert set(source.load(get_task("mrpc"), "train")["label"][:]) == {0, 1}


def test_cola_is_read_fast(source: FolderSource) -> None:
    source.load(get_task("cola"), "dev")
    assert measure_cpu_seconds(lambda: source.load(get_task("cola"), "train")) < 0.5


NLI_COUNTS = {
    ("snli", "dev"): 9842,
    ("snli", "test"): 9824,
    ("sick", "test"): 4906,
    ("scitail", "dev"): 1304,
    ("scitail", "test"): 2126,
}


@pytest.mark.parametrize("folder", ["", "nli"])
@pytest.mark.parametrize(("task", "split"), NLI_COUNTS)
def test_inference_sets_have_their_rows_and_all_their_classes(task: str, split: str, folder: str) -> None:
    data = FolderSource(Path(DATA) / folder).load(get_task(task), split)
    assert len(data) == NLI_COUNTS[task, split]
    assert set(data["label"][:]) == set(range(len(get_task(task).labels)))


@pytest.mark.parametrize("task", COUNTS)
def test_the_folder_above_glue_is_the_same_data(source: FolderSource, task: str) -> None:
    assert FolderSource(DATA).fingerprint(get_task(task)) == source.fingerprint(get_task(task))


# A model that always gives one class is right as often as that class occurs (counted with cut, sort, uniq).
CONSTANT = [
    ("mnli", "contradiction", "snli", 3237 / 9824),
    ("mnli", "neutral", "sick", 2790 / 4906),
    ("mnli", "contradiction", "scitail", 1284 / 2126),
    ("snli", "neutral", "scitail", 1284 / 2126),
    ("snli", "contradiction", "rte", 131 / 277),
    ("rte", "not_entailment", "snli", (3219 + 3237) / 9824),
    ("rte", "entailment", "scitail", 842 / 2126),
    ("qqp", "duplicate", "mrpc", 279 / 408),
]


@pytest.mark.parametrize(("trained", "always", "name", "share"), CONSTANT)
def test_one_answer_for_all_is_right_as_often_as_it_occurs(
    trained: str, always: str, name: str, share: float
) -> None:
    target, classes = transfer.get_transfer_target(name), get_task(trained).labels
    labels = np.array(FolderSource(DATA).load(target.task, target.split)["label"][:])
    logits = np.tile(np.eye(len(classes))[classes.index(always)], (len(labels), 1))
    scores = transfer.compute_transfer_scores(get_task(trained), target, labels, logits)
    assert scores["accuracy"] == pytest.approx(share)
