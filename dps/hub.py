"""Access to the Hugging Face hub: whether it answers, and the files of a model."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from dps.errors import InputError

T = TypeVar("T")

DEFAULT_HUB_ENDPOINT = "https://huggingface.co"
HUB_TIMEOUT_S = 3.0
HUB_STALL_TIMEOUT_S = 4.0
HUB_REQUEST_TIMEOUT_S = 30.0  # for the whole answer to a look-up, for the beginning of a download
MIN_DOWNLOAD_SPEED = 1024  # bytes a second, on average from its beginning, after HUB_REQUEST_TIMEOUT_S

# What is fetched of a model: the configuration, the tokenizer and safetensors weights.
# Nothing that is unpickled or executed on loading is among them.
MODEL_FILES = [
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt", "vocab.json", "merges.txt", "bpe.codes", "spm.model", "spiece.model", "tokenizer.model",
    "sentencepiece.bpe.model", "*.safetensors", "*.safetensors.index.json",
]  # fmt: skip


def get_hub_endpoint() -> str:
    """Return the hub's address: HF_ENDPOINT, or https://huggingface.co."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_HUB_ENDPOINT).rstrip("/")


def is_offline() -> bool:
    """Return whether the environment forbids requests to the hub (HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE)."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in {"1", "ON", "YES", "TRUE"}


def is_hub_reachable() -> bool:
    """Return whether the hub answers one HTTP request within `HUB_TIMEOUT_S` seconds. Never raises.

    Uses the proxies of the environment. The deadline holds for the whole request: name look-up, connection
    and a slow answer. False at once in offline mode; a server error (5xx) counts as no answer.
    """
    if is_offline():
        return False
    import huggingface_hub  # noqa: F401 - a slow import on a busy machine: kept outside the deadline

    with suppress(Exception):  # whatever goes wrong, the hub has not answered
        return _call_within(HUB_TIMEOUT_S, _ask_hub)
    return False


def _ask_hub() -> bool:
    from huggingface_hub import get_session

    url = f"{get_hub_endpoint()}/api/models?limit=1"
    with get_session().stream("GET", url, timeout=HUB_TIMEOUT_S) as response:
        return bool(response.status_code < 500)


def _call_within(seconds: float, function: Callable[[], T]) -> T:
    """Call a function in a thread, which is left to itself after `seconds`: TimeoutError is raised then."""
    ends: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue()

    def call() -> None:
        try:
            ends.put((function(), None))
        except BaseException as error:  # raised again where it is waited for
            ends.put((None, error))

    threading.Thread(target=call, daemon=True).start()
    try:
        value, error = ends.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return cast(T, value)


@contextmanager
def limit_hub_requests() -> Iterator[None]:
    """Limit how long requests of huggingface_hub may wait, inside this context.

    Requests that its client sends without a timeout (look-ups of a repository) fail after
    `HUB_STALL_TIMEOUT_S` seconds without a byte. Downloads keep HF_HUB_DOWNLOAD_TIMEOUT.
    However an answer drips, a look-up that is not answered as a whole within `HUB_REQUEST_TIMEOUT_S` raises
    TimeoutError, and so does a download that has not begun by then or is slower than `MIN_DOWNLOAD_SPEED`.
    """
    from huggingface_hub import get_session

    session = get_session()
    hooks, send = session.event_hooks, session.send
    session.event_hooks = {**hooks, "request": [*hooks["request"], _set_request_timeout]}
    session.send = partial(_send_within_limits, send)  # type: ignore[method-assign]
    try:
        yield
    finally:
        session.event_hooks, session.send = hooks, send  # type: ignore[method-assign]


def _send_within_limits(send: Callable[..., Any], request: Any, *, stream: bool = False, **rest: Any) -> Any:
    """Send a request as the client's `send` does, within the limits of `limit_hub_requests`."""
    response = _call_within(HUB_REQUEST_TIMEOUT_S, partial(send, request, stream=stream, **rest))
    if stream:
        response.iter_raw = partial(_read_at_speed, response.iter_raw)
    return response


def _read_at_speed(read: Callable[..., Iterator[bytes]], *sizes: Any, **named_sizes: Any) -> Iterator[bytes]:
    """Yield what a response brings. Raises TimeoutError if that is less than `MIN_DOWNLOAD_SPEED`."""
    began, received = time.monotonic(), 0
    for part in read(*sizes, **named_sizes):
        received += len(part)
        seconds = time.monotonic() - began
        if seconds > HUB_REQUEST_TIMEOUT_S and received < MIN_DOWNLOAD_SPEED * seconds:
            raise TimeoutError(f"{received} bytes in {seconds:.0f} s")
        yield part


def _set_request_timeout(request: Any) -> None:
    limits = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {kind: limit or HUB_STALL_TIMEOUT_S for kind, limit in limits.items()}


def fetch_model(name: str) -> Path:
    """Download the `MODEL_FILES` of a model, or find them in the cache; return their local folder.

    name: "bert-base-cased", "owner/model".

    huggingface_hub resumes a download that broke off. If the hub does not answer, the cache is used. Another
    program may have put more files into that folder: load it with `use_safetensors=True`.

    Raises InputError if there is no such model, it has no safetensors weights, the download
    failed, or neither the hub nor the cache has it.
    """
    from huggingface_hub import snapshot_download

    online = is_hub_reachable()
    try:
        with limit_hub_requests():
            folder = snapshot_download(
                name,
                endpoint=get_hub_endpoint(),
                allow_patterns=MODEL_FILES,
                ignore_patterns=["*/*", "*.fp16*", "consolidated*"],  # folders, and the same weights again
                local_files_only=not online,
            )
    except Exception as error:  # the hub's client raises OSError, ValueError and its HTTP library's own
        raise explain_fetch_error(f"model {name!r}", error, online) from error
    if not any(Path(folder).glob("*.safetensors")):
        raise InputError(f"model {name!r}: has no *.safetensors weights, the only ones read; convert them")
    return Path(folder)


def explain_fetch_error(subject: str, error: Exception, online: bool) -> InputError:
    """Return the InputError for a failed fetch: what was fetched, why it failed, what to do, in one line.

    subject: "model 'bert-base-cased'". online: whether the hub answered before the fetch.
    """
    return InputError(f"{subject}: {_find_reason(error, online)}")


def _find_reason(error: Exception, online: bool) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.HFValidationError):
        return "not a name on the hub (owner/name) nor a folder; check the spelling"
    if not online:
        return f"not in the local cache, and {_explain_no_answer()}"
    if isinstance(error, errors.GatedRepoError):
        return f"{get_hub_endpoint()} requires you to accept its terms; accept them there and set HF_TOKEN"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"does not exist on {get_hub_endpoint()} or is private; check the name"
    text = (str(error).splitlines() or [""])[0]
    return f"the download from {get_hub_endpoint()} failed ({type(error).__name__}: {text}); try again"


def _explain_no_answer() -> str:
    if is_offline():
        return "offline mode is on; unset HF_HUB_OFFLINE, or give a local folder"
    return (
        f"{get_hub_endpoint()} did not answer within {HUB_TIMEOUT_S:g} s; check the network, or give "
        f"a local folder"
    )
