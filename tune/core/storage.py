"""Where runs under way keep what must outlive their node: a folder, or a place in an object store.

A place is a string: a path, or a URI that pyarrow.fs understands (s3://BUCKET/PATH, gs://BUCKET/PATH). The
credentials of an object store are those of the environment or the machine, and so is its address where it is
not the provider's own (AWS_ENDPOINT_URL).
"""

from __future__ import annotations

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
REQUEST_TIMEOUT_S, MAX_REQUEST_ATTEMPTS = 60.0, 5  # of a request


def is_remote_location(place: str) -> bool:
    """Whether it is a URI, not a path."""
    return "://" in place


def join_location(place: str, *names: str) -> str:
    """The place of this name in a place; the query of a URI stays at its end."""
    path, mark, query = place.partition("?") if is_remote_location(place) else (place, "", "")
    return "/".join([path.rstrip("/"), *names]) + mark + query


def resolve_location(place: str) -> str:
    """The place as every process of a machine may name it."""
    return place if is_remote_location(place) else str(Path(place).resolve())


def location_exists(place: str) -> bool:
    """Whether a file or a folder lies there."""
    from pyarrow.fs import FileType

    if not is_remote_location(place):
        return Path(place).exists()
    files, path = _open_remote_location(place)
    return bool(files.get_file_info(path).type != FileType.NotFound)


def list_location(place: str) -> list[str]:
    """What lies in a folder, sorted; nothing in one that is not there."""
    from pyarrow.fs import FileSelector

    if not is_remote_location(place):
        return sorted(file.name for file in Path(place).iterdir()) if Path(place).is_dir() else []
    files, path = _open_remote_location(place)
    return sorted(info.base_name for info in files.get_file_info(FileSelector(path, allow_not_found=True)))


def write_location(place: str, content: bytes) -> None:
    """One small file; its folder is made. Raises OSError."""
    if not is_remote_location(place):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        Path(place).write_bytes(content)
        return
    files, path = _open_remote_location(place)
    with files.open_output_stream(path) as stream:
        stream.write(content)


def upload_to_location(source: Path, place: str) -> None:
    """Copy a file or a folder to an object store. Raises OSError."""
    from pyarrow.fs import LocalFileSystem, copy_files

    files, path = _open_remote_location(place)
    copy_files(str(source), path, source_filesystem=LocalFileSystem(), destination_filesystem=files)


def download_location(place: str, to: Path) -> None:
    """Copy a file or a folder from an object store. Raises OSError."""
    from pyarrow.fs import LocalFileSystem, copy_files

    files, path = _open_remote_location(place)
    (to.parent if files.get_file_info(path).is_file else to).mkdir(parents=True, exist_ok=True)
    copy_files(path, str(to), source_filesystem=files, destination_filesystem=LocalFileSystem())


def move_from_location(place: str, to: Path) -> bool:
    """Move a file or a folder from the place here; False where there is none. Raises OSError."""
    if not location_exists(place):
        return False
    if not is_remote_location(place):
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(place, to)
        return True
    download_location(place, to)
    remove_location(place)
    return True


def remove_location(place: str) -> None:
    """Delete a file or a folder, or as much of it as can be."""
    with suppress(OSError):
        if is_remote_location(place):
            files, path = _open_remote_location(place)
            files.delete_file(path) if files.get_file_info(path).is_file else files.delete_dir(path)
        elif Path(place).is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            Path(place).unlink()


def check_location(storage: str, writing: bool) -> None:
    """Raises InputError, of --storage, for what is no place, and (writing) where it cannot be written to."""
    asked = urlsplit(storage)
    if is_remote_location(storage) and (asked.scheme not in REMOTE_SCHEMES or not asked.netloc):
        raise InputError(
            f"--storage: {storage!r} is no folder and no object store; give a folder that every node sees, "
            f"s3://BUCKET/PATH or gs://BUCKET/PATH"
        )
    if is_remote_location(storage) and asked.username is not None:
        raise InputError(
            f"--storage: {storage!r} holds credentials, which a command line shows; export them "
            f"(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), or give the machines a role"
        )
    if not writing:
        return
    probe = join_location(storage, f".write-probe-{uuid.uuid4().hex[:8]}")
    try:
        write_location(probe, b"0")
        remove_location(probe)
    except Exception as error:  # of pyarrow, of the store
        do = (
            "check the bucket, its address and the credentials"
            if is_remote_location(storage)
            else "give another folder"
        )
        raise InputError(
            f"--storage: cannot write to {storage} ({describe_storage_error(error)}); {do}"
        ) from None


def describe_storage_error(error: Exception) -> str:
    """Why a place could not be used, in a few words."""
    return getattr(error, "strerror", None) or sanitise_line(error)[:200]


@lru_cache(maxsize=4)
def _connect_file_system(root: str) -> Any:
    from pyarrow.fs import AwsStandardS3RetryStrategy, FileSystem, S3FileSystem

    made = FileSystem.from_uri(root)[0]
    if not isinstance(made, S3FileSystem):
        return made
    given = dict(parse_qsl(urlsplit(root).query))
    named = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "")
    return S3FileSystem(  # again, with more patience than three seconds
        region=made.region,
        endpoint_override=given.get("endpoint_override") or named.netloc or None,
        scheme=given.get("scheme") or named.scheme or None,
        request_timeout=REQUEST_TIMEOUT_S,
        connect_timeout=REQUEST_TIMEOUT_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=MAX_REQUEST_ATTEMPTS),
        allow_delayed_open=True,  # a small file is one request
    )


def _open_remote_location(place: str) -> tuple[Any, str]:
    """(file system, path in it); connected once for a bucket."""
    asked = urlsplit(place)
    root = asked._replace(path="/").geturl()
    return _connect_file_system(root), f"{asked.netloc}/{asked.path.strip('/')}".strip("/")
