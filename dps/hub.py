"""The Hugging Face hub: whether it answers, and a model's files from it."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dps.errors import InputError

DEFAULT_HUB_ENDPOINT = "https://huggingface.co"
HUB_TIMEOUT_S = 3.0
HUB_STALL_TIMEOUT_S = 4.0

# What is fetched of a model: the configuration, the tokenizer and safetensors weights.
# Nothing that is unpickled or executed on loading is among them.
MODEL_FILES = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "bpe.codes",
    "spm.model",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "*.safetensors",
    "*.safetensors.index.json",
]


def get_hub_endpoint() -> str:
    """The hub's address: HF_ENDPOINT or https://huggingface.co."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_HUB_ENDPOINT).rstrip("/")


def is_offline() -> bool:
    """True where the environment forbids asking the hub (HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE)."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in {"1", "ON", "YES", "TRUE"}


def is_hub_reachable(timeout_s: float = HUB_TIMEOUT_S) -> bool:
    """True where the hub answers one HTTP request within `timeout_s` seconds. Never raises.

    Goes through the proxies of the environment. The deadline holds for the whole
    request: name look-up, connection and an answer that dribbles in. False at once
    in offline mode; a server error (5xx) counts as no answer.
    """
    if is_offline():
        return False
    import huggingface_hub  # noqa: F401 - its import is slow on a busy machine: not on the probe's time

    answers: queue.Queue[bool] = queue.Queue()
    threading.Thread(target=_ask_hub, args=(timeout_s, answers), daemon=True).start()
    try:
        return answers.get(timeout=timeout_s)
    except queue.Empty:
        return False


def _ask_hub(timeout_s: float, answers: queue.Queue[bool]) -> None:
    answered = False
    with suppress(Exception):  # whatever goes wrong, the hub has not answered
        from huggingface_hub import get_session

        url = f"{get_hub_endpoint()}/api/models?limit=1"
        with get_session().stream("GET", url, timeout=timeout_s) as response:
            answered = response.status_code < 500
    answers.put(answered)


@contextmanager
def limit_hub_requests() -> Iterator[None]:
    """Within it, no request of huggingface_hub waits for ever.

    Requests that its client sends without a timeout (look-ups of a repository) fail
    after `HUB_STALL_TIMEOUT_S` seconds without a byte. Downloads keep HF_HUB_DOWNLOAD_TIMEOUT.
    """
    from huggingface_hub import get_session

    session = get_session()
    before = session.event_hooks
    session.event_hooks = {**before, "request": [*before["request"], _set_request_timeout]}
    try:
        yield
    finally:
        session.event_hooks = before


def _set_request_timeout(request: Any) -> None:
    limits = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {kind: limit or HUB_STALL_TIMEOUT_S for kind, limit in limits.items()}


def fetch_model(name: str, revision: str | None = None) -> Path:
    """The local folder of a model: its `MODEL_FILES`, downloaded or from the cache.

    name: "bert-base-cased", "owner/model". revision: branch, tag or commit; None: main.
    A download that breaks off is resumed by huggingface_hub. Where the hub does not
    answer, the cache serves. The folder may hold more than `MODEL_FILES` if something
    else put it in the cache: load with `use_safetensors=True`.

    Raises InputError: no such model or revision, no safetensors weights, the download
    failed, or neither the hub nor the cache has it.
    """
    from huggingface_hub import snapshot_download

    online = is_hub_reachable()
    try:
        with limit_hub_requests():
            folder = snapshot_download(
                name,
                revision=revision,
                endpoint=get_hub_endpoint(),
                allow_patterns=MODEL_FILES,
                ignore_patterns=["*/*"],
                local_files_only=not online,
            )
    except Exception as error:  # the hub's client raises OSError, ValueError and its HTTP library's own
        raise explain_fetch_error(f"model {name!r}", error, online) from error
    if not any(Path(folder).glob("*.safetensors")):
        raise InputError(f"model {name!r}: has no *.safetensors weights, no others are loaded; convert them")
    return Path(folder)


def explain_fetch_error(what: str, error: Exception, online: bool) -> InputError:
    """The error of a failed fetch in one line: what was wanted, why it failed, what to do.

    what: "model 'bert-base-cased'". online: whether the hub had answered before.
    """
    return InputError(f"{what}: {_find_reason(error, online)}")


def _find_reason(error: Exception, online: bool) -> str:
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, HFValidationError):
        return "not a name on the hub (owner/name), and no such folder; check the spelling"
    if not online:
        return f"not in the local cache, and {_explain_silence()}"
    if isinstance(error, GatedRepoError):
        return f"{get_hub_endpoint()} asks for consent to its terms; accept them there and set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return f"does not exist on {get_hub_endpoint()}, or is private; check the name"
    if isinstance(error, RevisionNotFoundError):
        return f"{get_hub_endpoint()} has no such revision; check it"
    text = (str(error).splitlines() or [""])[0]
    return f"the download from {get_hub_endpoint()} failed ({type(error).__name__}: {text}); try again"


def _explain_silence() -> str:
    if is_offline():
        return "offline mode is on; unset HF_HUB_OFFLINE, or give a local folder"
    return (
        f"{get_hub_endpoint()} did not answer within {HUB_TIMEOUT_S:g} s; check the network, or give "
        f"a local folder"
    )
