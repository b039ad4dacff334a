"""Jobs on a Ray cluster's job server: submit, follow, stop."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from tune.core.command import EXIT_CRASHED, EXIT_DONE, EXIT_INTERRUPTED
from tune.core.wording import get_last_line
from tune.execution.auth_token import protect_auth_token

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

T = TypeVar("T")
JOB_GROUP_KEY = "dps.group"  # in the metadata of a job
STOP_TIMEOUT_S = 30  # a search writes its checkpoints meanwhile; Ray's own 3 s would cut that short
POLL_INTERVAL_S = 1.0
CONNECT_TIMEOUT_S = 5.0
SERVER_TIMEOUT_S = 120.0  # on a job server that no longer answers


@dataclass(frozen=True)
class JobRequest:
    """Request for one job. entrypoint: its command; group: name that several jobs share. output: its folder,
    as the shell of the cluster's head reads it; row: its values in the matrix."""

    id: str
    entrypoint: str
    group: str
    output: str = ""
    row: Mapping[str, str] = field(default_factory=dict)


@dataclass
class JobServer:
    """Jobs of one cluster, through its job server. Raises ConnectionError if the server does not answer."""

    address: str
    client: JobSubmissionClient = field(init=False)

    def __post_init__(self) -> None:
        _check_job_server(self.address)
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        protect_auth_token()
        os.environ.pop("RAY_ADDRESS", None)  # it takes precedence over the address
        from ray.job_submission import JobSubmissionClient

        logging.getLogger("ray").setLevel(logging.WARNING)
        try:
            self.client = JobSubmissionClient(self.address)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConnectionError(f"{self.address}: {get_last_line(error)}") from None

    def submit(
        self, requests: Sequence[JobRequest], folder: Path, variables: dict[str, str]
    ) -> Iterator[JobRequest]:
        """Ship the folder once and start the jobs in it. Yields each that was started."""
        env = {
            "working_dir": str(folder),
            "env_vars": {**variables, "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_TIMEOUT_S)},
        }
        for request in requests:
            submit = partial(
                self.client.submit_job,
                entrypoint=request.entrypoint,
                submission_id=request.id,
                runtime_env=env,
                metadata={JOB_GROUP_KEY: request.group},
            )
            # A head that has just started cannot take jobs yet.
            self._retry(submit, lambda error: "No available agent" in error)
            yield request

    def _retry(self, call: Callable[[], T], passes: Callable[[str], bool]) -> T:
        """Call until no passing error is raised. passes: tells from its text whether an error will pass."""
        deadline = time.monotonic() + SERVER_TIMEOUT_S
        while True:
            try:
                return call()
            except (RuntimeError, OSError) as error:
                if not passes(str(error)) or time.monotonic() > deadline:
                    raise ConnectionError(f"{self.address}: {get_last_line(error)}") from None
                time.sleep(POLL_INTERVAL_S)

    def find_jobs(self, name: str) -> list[str]:
        """Return the ids of the job, or of the jobs of the group, with this name."""
        jobs = [job for job in self.client.list_jobs() if job.submission_id]
        return sorted(
            str(job.submission_id)
            for job in jobs
            if name in (job.submission_id, (job.metadata or {}).get(JOB_GROUP_KEY))
        )

    def stop(self, ids: Sequence[str]) -> None:
        """Stop the jobs and wait until they have ended; a search writes its checkpoints first."""
        for job in ids:
            self.client.stop_job(job)
        deadline = time.monotonic() + 2 * STOP_TIMEOUT_S
        while any(not self.get_info(job).status.is_terminal() for job in ids):
            if time.monotonic() > deadline:
                raise ConnectionError(f"{', '.join(ids)}: did not end within {2 * STOP_TIMEOUT_S} s")
            time.sleep(POLL_INTERVAL_S)

    def follow(self, ids: Sequence[str], write: Callable[[str], None]) -> int:
        """Write one job's log, or the status of several, until all have ended; return the worst status."""
        if len(ids) == 1:
            JobLog(self, ids[0], write).follow()
        else:
            self._watch(ids, write)
        return max(get_exit_status(self.get_info(job)) for job in ids)

    def _watch(self, ids: Sequence[str], write: Callable[[str], None]) -> None:
        written = dict.fromkeys(ids, "")
        while True:
            infos = {job: self.get_info(job) for job in ids}
            for job, info in infos.items():
                if written[job] != info.status:
                    written[job] = info.status
                    write(f"{time.strftime('%H:%M:%S')}  {job}  {describe_job_outcome(info)}\n")
            if all(info.status.is_terminal() for info in infos.values()):
                return
            time.sleep(POLL_INTERVAL_S)

    def get_info(self, job: str) -> JobDetails:
        """Return the details of a job; wait for a server that is away for a while."""
        return self._retry(lambda: self.client.get_job_info(job), lambda error: "does not exist" not in error)


def _check_job_server(address: str) -> None:
    """Raise ConnectionError at once for what is no address of a job server, or where none listens: Ray would
    take it for another kind of address, and try for minutes."""
    url = urlsplit(address)
    try:
        host, port = url.hostname, url.port or (443 if url.scheme == "https" else 80)
    except ValueError:  # of the port
        host, port = None, 0
    if url.scheme not in ("http", "https") or not host:
        raise ConnectionError(
            f"{address} is no URL of a job server; give http://HOST:PORT (port 8265 as a rule)"
        )
    try:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConnectionError(f"{address}: no job server answers ({reason}); start the cluster") from None


@dataclass
class JobLog:
    """Log of one job; every character is written once, however often the connection breaks."""

    server: JobServer
    job: str
    write: Callable[[str], None]
    printed_chars: int = 0

    def follow(self) -> None:
        """Write the log until the job has ended."""
        while not self.server.get_info(self.job).status.is_terminal():
            try:
                asyncio.run(self._tail())
            except (RuntimeError, OSError):  # the connection broke, the job may run on
                time.sleep(POLL_INTERVAL_S)
        text = self.server.client.get_job_logs(self.job)
        self.write(text[self.printed_chars :])  # what the stream had not delivered

    async def _tail(self) -> None:
        passed = 0
        async for text in self.server.client.tail_job_logs(self.job):
            self.write(text[max(0, self.printed_chars - passed) :])
            passed += len(text)
            self.printed_chars = max(self.printed_chars, passed)


def get_exit_status(info: JobDetails) -> int:
    """Return the exit status of an ended job: its command's own, 130 if stopped, 1 if it never ran."""
    if info.status == "STOPPED":
        return EXIT_INTERRUPTED
    if info.status == "SUCCEEDED":
        return EXIT_DONE
    return info.driver_exit_code or EXIT_CRASHED


def describe_job_outcome(info: JobDetails) -> str:
    """Describe the status of a job in a word, and the reason of a failure."""
    if info.status != "FAILED":
        return str(info.status.value).lower()
    exit_code = info.driver_exit_code
    return f"failed: {f'exit status {exit_code}' if exit_code else get_last_line(info.message)[:300]}"
