"""Storage for files that must outlive their node: a folder or an object store.

A location is a string: a path, or a URI that pyarrow.fs understands (s3://BUCKET/PATH, gs://BUCKET/PATH). The
credentials of an object store are those of the environment or the machine, and so is its address where it is
not the provider's own (AWS_ENDPOINT_URL).
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from dps.errors import InputError
from dps.text import sanitise_line

REMOTE_SCHEMES = ("s3", "gs", "gcs")
REQUEST_TIMEOUT_S, MAX_REQUEST_ATTEMPTS = 60.0, 5  # per request


def is_remote_location(location: str) -> bool:
    """Return whether a location is a URI (an object store) and not a path."""
    return "://" in location


def join_location(location: str, *names: str) -> str:
    """Join names to a location; a URI's query stays at its end."""
    path, mark, query = location.partition("?") if is_remote_location(location) else (location, "", "")
    return "/".join([path.rstrip("/"), *names]) + mark + query


def resolve_location(location: str) -> str:
    """Return the location as an absolute path; a URI stays as it is."""
    return location if is_remote_location(location) else str(Path(location).resolve())


def location_exists(location: str) -> bool:
    """Return whether a file or folder exists at a location."""
    from pyarrow.fs import FileType

    if not is_remote_location(location):
        return Path(location).exists()
    files, path = _open_remote_location(location)
    return bool(files.get_file_info(path).type != FileType.NotFound)


def list_location(location: str) -> list[str]:
    """Return the sorted names in a folder; empty if it does not exist."""
    from pyarrow.fs import FileSelector

    if not is_remote_location(location):
        return sorted(file.name for file in Path(location).iterdir()) if Path(location).is_dir() else []
    files, path = _open_remote_location(location)
    return sorted(info.base_name for info in files.get_file_info(FileSelector(path, allow_not_found=True)))


def write_location(location: str, content: bytes) -> None:
    """Write a small new file, creating its folder. Raises OSError, also where a file or a link is there."""
    if not is_remote_location(location):
        Path(location).parent.mkdir(parents=True, exist_ok=True)
        with Path(location).open("xb") as file:
            file.write(content)
        return
    files, path = _open_remote_location(location)
    with files.open_output_stream(path) as stream:
        stream.write(content)


def upload_to_location(source: Path, location: str) -> None:
    """Copy a file or a folder to an object store. Raises OSError."""
    from pyarrow.fs import LocalFileSystem, copy_files

    files, path = _open_remote_location(location)
    copy_files(str(source), path, source_filesystem=LocalFileSystem(), destination_filesystem=files)


def download_location(location: str, to: Path) -> None:
    """Copy a file or a folder from an object store. Raises OSError."""
    from pyarrow.fs import LocalFileSystem, copy_files

    files, path = _open_remote_location(location)
    (to.parent if files.get_file_info(path).is_file else to).mkdir(parents=True, exist_ok=True)
    copy_files(path, str(to), source_filesystem=files, destination_filesystem=LocalFileSystem())


def take_from_location(location: str, to: Path) -> bool:
    """Have a file or folder at a local path, whole or not at all. Where it cannot be moved in one step it is
    copied, and stays at its location. Returns False if nothing is there. Raises OSError."""
    if not location_exists(location):
        return False
    to.parent.mkdir(parents=True, exist_ok=True)
    if not is_remote_location(location):
        try:
            os.rename(location, to)
            return True
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
    part = to.with_name(f".{uuid.uuid4().hex[:12]}.part")
    if is_remote_location(location):
        download_location(location, part)
    elif Path(location).is_dir():
        shutil.copytree(location, part)
    else:
        shutil.copyfile(location, part)
    part.rename(to)
    return True


def remove_location(location: str) -> None:
    """Delete a file or folder as far as possible; never raises OSError."""
    with suppress(OSError):
        if is_remote_location(location):
            files, path = _open_remote_location(location)
            files.delete_file(path) if files.get_file_info(path).is_file else files.delete_dir(path)
        elif Path(location).is_dir():
            shutil.rmtree(location, ignore_errors=True)
        else:
            Path(location).unlink()


def check_location(storage: str, writing: bool) -> None:
    """Raise InputError for an invalid --storage and, with `writing`, for one that cannot be written."""
    parsed = urlsplit(storage)
    if is_remote_location(storage) and (parsed.scheme not in REMOTE_SCHEMES or not parsed.netloc):
        raise InputError(
            f"--storage: {storage!r} is neither a folder nor an object store; give a folder that every node "
            f"sees, s3://BUCKET/PATH or gs://BUCKET/PATH"
        )
    if is_remote_location(storage) and parsed.username is not None:
        raise InputError(
            f"--storage: {storage!r} holds credentials, which a command line shows; export them "
            f"(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), or give the machines a role"
        )
    if not writing:
        return
    probe_file = join_location(storage, f".write-probe-{uuid.uuid4().hex[:8]}")
    try:
        write_location(probe_file, b"0")
        remove_location(probe_file)
    except Exception as error:  # raised by pyarrow or the store
        remedy = (
            "check the bucket, its address and the credentials"
            if is_remote_location(storage)
            else "give another folder"
        )
        raise InputError(
            f"--storage: cannot write to {storage} ({describe_storage_error(error)}); {remedy}"
        ) from None


def describe_storage_error(error: Exception) -> str:
    """Describe a storage error in a few words."""
    return getattr(error, "strerror", None) or sanitise_line(error)[:200]


@lru_cache(maxsize=4)
def _connect_file_system(root: str) -> Any:
    from pyarrow.fs import AwsStandardS3RetryStrategy, FileSystem, S3FileSystem

    file_system = FileSystem.from_uri(root)[0]
    if not isinstance(file_system, S3FileSystem):
        return file_system
    query = dict(parse_qsl(urlsplit(root).query))
    endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "")
    return S3FileSystem(  # made again with longer time-outs than the default three seconds
        region=file_system.region,
        endpoint_override=query.get("endpoint_override") or endpoint.netloc or None,
        scheme=query.get("scheme") or endpoint.scheme or None,
        request_timeout=REQUEST_TIMEOUT_S,
        connect_timeout=REQUEST_TIMEOUT_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=MAX_REQUEST_ATTEMPTS),
        allow_delayed_open=True,  # a small file is one request
    )


def _open_remote_location(location: str) -> tuple[Any, str]:
    """Return (file system, path in it); connected once per bucket."""
    parsed = urlsplit(location)
    root = parsed._replace(path="/").geturl()
    return _connect_file_system(root), f"{parsed.netloc}/{parsed.path.strip('/')}".strip("/")
