"""Data and models from a hub: a real HTTP server on the loopback, a process of its own per client."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hub_server import ALWAYS, FakeHub

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parents[2]
CLASSES = {"cola": ["unacceptable", "acceptable"], "mnli": ["entailment", "neutral", "contradiction"]}
LIMIT_S = 5.0  # a hub that hangs is given up within this time

# What the client process runs: `call` is one expression, its value or InputError is printed.
CLIENT = """
import json, sys, time
import dps.hub
from dps.errors import InputError
from dps.hub import fetch_model, is_hub_reachable
from dps.sources.hub import HubSource
from dps.tasks.registry import get_task
import huggingface_hub
start = time.monotonic()
try:
    answer = {"value": eval(sys.argv[1])}
except InputError as error:
    answer = {"error": str(error)}
print(json.dumps({**answer, "seconds": time.monotonic() - start}, default=str))
"""


class Client:
    """Runs expressions in processes that know only this hub and this cache folder."""

    def __init__(self, endpoint: str, cache: Path) -> None:
        self.endpoint = endpoint
        self.cache = cache

    def __call__(self, call: str, **settings: str) -> dict[str, Any]:
        environment = {name: value for name, value in os.environ.items() if not _concerns_hub(name)}
        environment |= {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(self.cache),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            **settings,
        }
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, call],
            env=environment,
            cwd=self.cache,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert "\n" not in answer.get("error", "")
        return answer

    def both(self, *calls: str) -> list[dict[str, Any]]:
        """The answers of several processes that run at the same time."""
        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(self, calls))


def _concerns_hub(name: str) -> bool:
    return name.startswith(("HF_", "TRANSFORMERS_")) or name.lower().endswith("_proxy")


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@pytest.fixture
def client(hub: FakeHub, tmp_path: Path) -> Client:
    return Client(hub.url, tmp_path)


def parquet(columns: dict[str, Any], classes: list[str]) -> bytes:
    from datasets import ClassLabel, Dataset, Features, Value

    texts = {name: Value("string") for name in columns if name not in ("label", "idx")}
    features = Features({**texts, "label": ClassLabel(names=classes), "idx": Value("int32")})
    buffer = io.BytesIO()
    Dataset.from_dict(columns, features=features).to_parquet(buffer)
    return buffer.getvalue()


def cola(sentences: list[str], labels: list[int]) -> bytes:
    columns: dict[str, Any] = {"sentence": sentences, "label": labels, "idx": list(range(len(labels)))}
    return parquet(columns, CLASSES["cola"])


def mnli(premise: str) -> bytes:
    columns: dict[str, Any] = {"premise": [premise], "hypothesis": ["So it is."], "label": [2], "idx": [0]}
    return parquet(columns, CLASSES["mnli"])


def card(splits: dict[str, list[str]]) -> bytes:
    """The README with the configurations, as nyu-mll/glue has it."""
    lines = ["---", "configs:"]
    for config, names in splits.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        lines += [f"  - split: {name}\n    path: {config}/{name}-*" for name in names]
    return "\n".join([*lines, "---", "# GLUE", ""]).encode()


def glue(train: bytes | None = None) -> dict[str, bytes]:
    part = "-00000-of-00001.parquet"
    names = {
        "cola": ["train", "validation", "test"],
        "mnli": ["train", "validation_matched", "validation_mismatched"],
    }
    return {
        "README.md": card(names),
        f"cola/train{part}": train or cola(["It is so.", "Is so it."], [1, 0]),
        f"cola/validation{part}": cola(["So it is."], [1]),
        f"cola/test{part}": cola(["Who knows?"], [-1]),
        **{f"mnli/{name}{part}": mnli(f"It is {name}.") for name in names["mnli"]},
    }


def load(task: str, split: str, name: str = "nyu-mll/glue") -> str:
    return f"HubSource({name!r}).load(get_task({task!r}), {split!r}).columns"


TRAIN = {"sentence": ["It is so.", "Is so it."], "label": [1, 0]}
COLA = """[
    source := HubSource(), cola := get_task("cola"),
    source.load(cola, "train").columns, source.fingerprint(cola)
][2:]"""


def test_data_is_downloaded_then_cached_then_served_offline(hub: FakeHub, client: Client) -> None:
    hub.add("datasets", "nyu-mll/glue", glue())
    first = client(COLA)["value"]
    assert first[0] == TRAIN
    seen = len(hub.requests)
    assert client(COLA)["value"] == first
    assert not any(request.startswith("GET") and "parquet" in request for request in hub.requests[seen:])
    hub.close()
    assert client(COLA)["value"] == first
    assert client(COLA, HF_HUB_OFFLINE="1")["value"] == first


def test_mnli_dev_sets_are_matched_and_mismatched(hub: FakeHub, client: Client) -> None:
    hub.add("datasets", "nyu-mll/glue", glue())
    both = client(f"[{load('mnli', 'dev')}, {load('mnli', 'dev_mismatched')}]")["value"]
    assert [data["premise"] for data in both] == [
        ["It is validation_matched."],
        ["It is validation_mismatched."],
    ]
    assert [data["label"] for data in both] == [[2], [2]]


def test_hidden_labels_and_other_classes_are_refused(hub: FakeHub, client: Client) -> None:
    columns: dict[str, Any] = {"sentence": ["It is so."], "label": [0], "idx": [0]}
    swapped = parquet(columns, ["acceptable", "unacceptable"])
    hub.add("datasets", "some/hidden", glue(train=cola(["It is so.", "Is so it."], [1, -1])))
    hub.add("datasets", "some/swapped", glue(train=swapped))
    calls = (load("cola", "train", name) for name in ("some/hidden", "some/swapped"))
    hidden, other = client.both(*calls)
    assert hidden["error"].startswith("some/hidden, cola, train: row 2: label -1 is not one of task cola")
    assert "some/swapped, cola, train: its classes are acceptable, unacceptable" in other["error"]


def test_data_that_breaks_off_is_resumed(hub: FakeHub, client: Client) -> None:
    hub.add("datasets", "nyu-mll/glue", glue())
    hub.breaks = 2
    assert client(load("cola", "train"))["value"] == TRAIN
    assert hub.breaks == 0


def test_a_task_of_ones_own_is_read_from_its_data_set(hub: FakeHub, client: Client, tmp_path: Path) -> None:
    sentences = [f"It is {number}." for number in range(20)]
    files = {
        "README.md": card({"default": ["train"]}),
        "default/train-00000-of-00001.parquet": cola(sentences, [0, 1] * 10),
    }
    hub.add("datasets", "me/own", files)
    text = (
        "name: own\ncolumns: sentence\nlabels: [unacceptable, acceptable]\nhub: {name: me/own, train: train}"
    )
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    call = f"""[
        task := get_task({str(tmp_path / "own.yaml")!r}), source := dps.sources.open_data_source(None, task),
        [source.load(task, split).columns for split in task.splits], source.fingerprint(task)
    ][2:]"""
    (train, dev), fingerprint = client(call)["value"]
    assert (len(train["label"]), dev["label"].count(0), dev["label"].count(1)) == (16, 2, 2)
    assert sorted([*train["sentence"], *dev["sentence"]]) == sorted(sentences)
    hub.close()
    assert client(call)["value"] == [[train, dev], fingerprint]


def test_no_such_data_set(hub: FakeHub, client: Client) -> None:
    error = client(load("cola", "train", "nobody/nothing"))["error"]
    assert error.startswith("data set 'nobody/nothing', configuration 'cola': does not exist on ")
    assert hub.url in error


def test_no_data_offline_without_a_cache(client: Client) -> None:
    error = client(load("cola", "train"), HF_HUB_OFFLINE="1")["error"]
    assert "not in the local cache, and offline mode is on" in error


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a BERT of random weights, with a vocabulary and files nobody should fetch."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    config = BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nit\nis\nso\n")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "modeling.py").write_text("raise SystemExit")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_is_downloaded_loaded_and_served_offline(
    hub: FakeHub, client: Client, bert: dict[str, bytes]
) -> None:
    from transformers import AutoModel

    hub.add("models", "someone/bert", bert)
    folder = Path(client("fetch_model('someone/bert')")["value"])
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "vocab.txt"]
    assert not any("pytorch_model.bin" in request for request in hub.requests)
    assert AutoModel.from_pretrained(folder, local_files_only=True).config.hidden_size == 8
    hub.close()
    assert client("fetch_model('someone/bert')", HF_HUB_OFFLINE="1")["value"] == str(folder)
    assert client("fetch_model('someone/bert')")["value"] == str(folder)


def test_a_model_that_breaks_off_is_resumed(hub: FakeHub, client: Client, bert: dict[str, bytes]) -> None:
    hub.add("models", "someone/bert", bert)
    hub.breaks = 2
    folder = Path(client("fetch_model('someone/bert')")["value"])
    assert (folder / "model.safetensors").read_bytes() == bert["model.safetensors"]
    assert hub.breaks == 0


def test_downloads_that_always_break_off_are_errors_and_leave_no_half_file(
    hub: FakeHub, client: Client, bert: dict[str, bytes]
) -> None:
    hub.add("models", "someone/bert", bert)
    hub.add("datasets", "nyu-mll/glue", glue())
    hub.breaks = ALWAYS
    model, data = client.both("fetch_model('someone/bert')", load("cola", "train"))
    assert model["error"].startswith(f"model 'someone/bert': the download from {hub.url} failed")
    assert data["error"].startswith("data set 'nyu-mll/glue', configuration 'cola': the download from")
    assert not list(client.cache.rglob("snapshots/*/model.safetensors"))
    hub.breaks = 0
    assert client("fetch_model('someone/bert')")["value"]


def test_a_model_without_safetensors_is_refused(hub: FakeHub, client: Client, bert: dict[str, bytes]) -> None:
    hub.add("models", "someone/old", {name: bert[name] for name in ("config.json", "pytorch_model.bin")})
    error = client("fetch_model('someone/old')")["error"]
    assert error.startswith("model 'someone/old': has no *.safetensors weights")
    assert not any("resolve" in request and ".bin" in request for request in hub.requests)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("fetch_model('nobody/nothing')", "model 'nobody/nothing': does not exist on"),
        ("fetch_model('not a name')", "model 'not a name': not a name on the hub"),
    ],
)
def test_no_such_model(hub: FakeHub, client: Client, bert: dict[str, bytes], call: str, message: str) -> None:
    hub.add("models", "someone/bert", bert)
    assert message in client(call)["error"]


def test_a_hub_that_hangs_is_given_up(hub: FakeHub, client: Client) -> None:
    hub.hangs = "/"
    for answer in client.both("fetch_model('someone/bert')", load("cola", "train")):
        assert f"not in the local cache, and {hub.url} did not answer within 3 s" in answer["error"]
        assert answer["seconds"] < LIMIT_S


def test_a_hub_that_hangs_after_its_first_answer_is_given_up(hub: FakeHub, client: Client) -> None:
    hub.hangs = "someone"
    calls = ("fetch_model('someone/bert')", load("cola", "train", "someone/data"))
    for answer in client.both(*calls):
        assert f"the download from {hub.url} failed" in answer["error"]
        assert "ReadTimeout" in answer["error"]
        assert answer["seconds"] < 2 * LIMIT_S


def dribble(server: socket.socket) -> None:
    """Answers the first connection a byte at a time, for minutes."""
    connection, _ = server.accept()
    with connection, suppress(OSError):
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: 1\r\n" * 50:
            connection.send(bytes([byte]))
            time.sleep(0.2)


def test_an_answer_that_dribbles_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=dribble, args=(server,), daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        answer = Client(address, tmp_path)("is_hub_reachable()")
    assert answer["value"] is False
    assert answer["seconds"] < LIMIT_S


@pytest.mark.parametrize("slow", ["api/models/someone", "HEAD", "GET /someone/bert/resolve"])
def test_a_hub_that_drips_is_given_up(
    hub: FakeHub, client: Client, bert: dict[str, bytes], slow: str
) -> None:
    hub.add("models", "someone/bert", bert)
    hub.drips = slow
    limits = "[setattr(dps.hub, name, 2) for name in ('HUB_REQUEST_TIMEOUT_S', 'HUB_STALL_TIMEOUT_S')]"
    answer = client(f"{limits} and fetch_model('someone/bert')")
    assert f"the download from {hub.url} failed (TimeoutError: " in answer["error"]
    assert answer["seconds"] < 3 * LIMIT_S
    hub.drips = None
    assert client("fetch_model('someone/bert')")["value"]


def test_reachable(hub: FakeHub, client: Client, tmp_path: Path) -> None:
    assert client("is_hub_reachable()")["value"] is True
    seen = len(hub.requests)
    assert client("is_hub_reachable()", HF_HUB_OFFLINE="1")["value"] is False
    assert len(hub.requests) == seen  # offline, nobody is asked
    hub.close()
    assert client("is_hub_reachable()")["value"] is False
    assert Client("no address at all", tmp_path)("is_hub_reachable()")["value"] is False
