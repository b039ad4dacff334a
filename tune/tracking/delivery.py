"""Delivery of events by a thread, in their order: what MLflow refuses is left out, what it misses waits."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from dps.errors import InputError
from dps.text import sanitise_line

RETRY_WAIT_S, MAX_RETRY_WAIT_S = 1.0, 30.0  # the wait after a temporary error; doubled each time
MAX_TRIES_WHILE_REACHABLE, MAX_TRIES_AT_THE_END = 5, 3  # of an event that fails with temporary errors
TRANSIENT_ERROR_CODES = (
    "INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED",
)  # fmt: skip


class Server(ABC):
    """The other end of a delivery. connect: called before any event; what it raises ends the delivery."""

    @abstractmethod
    def connect(self) -> None: ...

    @abstractmethod
    def is_reachable(self) -> bool:
        """Return whether it answers at all."""

    @abstractmethod
    def recover(self) -> bool:
        """Put right what it no longer has. Returns whether a refused event is worth another try."""


@dataclass(frozen=True)
class Event:
    """Something to write. name: for messages, such as "trial 3"."""

    name: str
    write: Callable[[], None]


class Delivery:
    """A queue of events and the thread that writes them; nobody waits for it before the end.

    warn: told at once of the first event that is refused, and of a server that cannot be used.
    hold_s: seconds that the server is left alone, or until an event comes that does not wait: making a store
    takes seconds of a core, which the first runs need for their start.
    """

    def __init__(self, server: Server, warn: Callable[[str], None], hold_s: float = 0.0) -> None:
        self._server, self._warn, self._hold_s = server, warn, hold_s
        self._released = threading.Event()
        self._events: queue.Queue[Event | None] = queue.Queue()
        self._closing, self._abandoned = threading.Event(), threading.Event()
        self._gave_up, self._waiting_for, self._refused = False, "", list[str]()
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)
        self._thread.start()

    @property
    def error(self) -> str:
        """What was not delivered and why; empty if nothing is missing."""
        more = f" (and {len(self._refused) - 1} more)" if len(self._refused) > 1 else ""
        return self._waiting_for or "".join(self._refused[:1]) + more

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closing.is_set()

    def put(self, name: str, write: Callable[[], None], waits: bool = False) -> None:
        """Add an event. waits: whether the server may be left alone a little longer."""
        self._events.put(Event(name, write))
        if not waits:
            self.release()

    def release(self) -> None:
        """Leave the server alone no longer."""
        self._released.set()

    def close(self, within_s: float) -> None:
        """Wait until everything is written, or this time is over. Nothing can be added afterwards."""
        self._events.put(None)
        self._closing.set()
        self.release()
        self._thread.join(within_s)
        self._abandoned.set()
        if self._thread.is_alive():
            self._waiting_for = self._waiting_for or "MLflow did not finish in time"

    def _run(self) -> None:
        self._released.wait(self._hold_s)
        self._deliver(Event("", self._server.connect))
        while (event := self._events.get()) is not None:
            if not self._gave_up:
                self._deliver(event)

    def _deliver(self, event: Event) -> None:
        """Write an event, again and again while the server is away; at the end of all some few times."""
        tries, has_recovered, wait = 0, False, RETRY_WAIT_S
        while True:
            error = self._try(event)
            if error is None:
                self._waiting_for = ""
                return
            reason, tries, is_refused = describe_error(error), tries + 1, not is_transient_error(error)
            is_last = self._closing.is_set() and tries >= MAX_TRIES_AT_THE_END
            if not is_refused and (is_last or tries % MAX_TRIES_WHILE_REACHABLE == 0):
                is_refused = self._server.is_reachable()  # it answers, and fails at this event alone
            if is_refused and event.name:
                if not has_recovered and self._try_to_recover():
                    has_recovered = True
                    continue
                self._leave_out(event, reason)
                return
            if is_refused or is_last:
                self._give_up(reason)
                return
            self._waiting_for = reason
            (self._abandoned if self._closing.is_set() else self._closing).wait(wait)
            wait = min(2 * wait, MAX_RETRY_WAIT_S)

    @staticmethod
    def _try(event: Event) -> Exception | None:
        try:
            event.write()
        except Exception as error:  # a tracker never fails the search
            return error
        return None

    def _try_to_recover(self) -> bool:
        try:
            return self._server.recover()
        except Exception:  # the reason of the refusal says more
            return False

    def _leave_out(self, event: Event, reason: str) -> None:
        self._waiting_for = ""
        self._refused.append(f"{event.name}: {reason}")
        if len(self._refused) == 1:
            self._warn(f"MLflow refused {event.name} ({reason}); what comes after goes on")

    def _give_up(self, reason: str) -> None:
        self._gave_up, self._waiting_for = True, reason
        if not self._closing.is_set():
            self._warn(f"MLflow cannot be used ({reason}); the runs go on without it")


def describe_error(error: Exception) -> str:
    """Describe an error in one line."""
    text = sanitise_line(error)[:200]
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def is_transient_error(error: Exception) -> bool:
    """Return whether an error is temporary and worth a retry."""
    return isinstance(error, OSError) or getattr(error, "error_code", "") in TRANSIENT_ERROR_CODES
