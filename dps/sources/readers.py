"""Reading of data files, row by row with the number of each row.

Formats by suffix, in small letters or capitals: .csv (ordinary quoting), .tsv and .txt (tab-separated, quotes
are ordinary characters, as in the GLUE files), .jsonl (an object a line) and .parquet. No other suffix is
ever opened.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from dps.errors import InputError
from dps.paths import DATA_SUFFIXES
from dps.text import quote_value

COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zip")
BINARY_MARKS = {  # the first bytes of files that are often given another suffix
    b"\x1f\x8b": "compressed (gzip)",
    b"PK\x03\x04": "a zip archive or an Excel file",
    b"PAR1": "a parquet file",
}
PARQUET_BATCH_ROWS = 256
MIN_UNFOLDED_BYTES, MAX_UNFOLDING = 2**29, 100  # a file may unfold to this size, or this many times its own


class DataRow(NamedTuple):
    """One row of a file.

    number: line of the file, from 1, on which the row starts; for parquet the row.
    values: fields by column; empty if the row could not be split into columns.
    problem: why it could not be split; "" if it was.
    """

    number: int
    values: dict[str, Any]
    problem: str = ""


class DataOrigin(NamedTuple):
    """Origin of rows, for messages.

    name: file or data set.
    separator: text between name and row number.
    """

    name: str
    separator: str = ":"

    def make_error(self, number: int, text: str) -> InputError:
        """Return the error of one row: "file:12: text"."""
        return InputError(f"{self.name}{self.separator}{number}: {text}")


def get_data_origin(path: Path) -> DataOrigin:
    """Return the origin of the rows of `path`: numbered by line, or by row for parquet."""
    return DataOrigin(str(path), ": row " if path.suffix.lower() == ".parquet" else ":")


def read_rows(path: Path, headless: tuple[str, ...] = ()) -> Iterator[DataRow]:
    """Yield the rows of one file, in order.

    headless: columns of a .tsv file without a header, recognised by their number.

    Raises InputError naming file and line: unreadable, an unknown suffix, not UTF-8, a column twice in the
    header, broken quoting, not JSON, not parquet.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _read_parquet(path)
    if suffix == ".jsonl":
        return _read_jsonl(path)
    if suffix == ".csv":
        return _apply_header(path, _csv_records(path))
    if suffix in (".tsv", ".txt"):
        return _apply_header(path, _tsv_records(path), headless)
    raise _make_suffix_error(path)


def check_suffix(path: Path) -> None:
    """Raise InputError unless a file has the suffix of a data file, in small letters or capitals."""
    if path.suffix.lower() not in DATA_SUFFIXES:
        raise _make_suffix_error(path)


def _make_suffix_error(path: Path) -> InputError:
    advice = "convert it to one of them"
    if path.suffix.lower() == ".txt":
        advice = "call a file with tabs between the columns .tsv, one with commas .csv"
    elif path.suffix.lower() in COMPRESSED_SUFFIXES:
        advice = "unpack it"
    return InputError(f"{path}: only {', '.join(DATA_SUFFIXES)} files are read; {advice}")


def read_file_bytes(path: Path) -> bytes:
    """Return the bytes of a file. Raises InputError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def _read_text(path: Path) -> str:
    data = read_file_bytes(path).removeprefix(codecs.BOM_UTF8)
    for mark, kind in BINARY_MARKS.items():
        if data.startswith(mark):
            raise InputError(f"{path}: is {kind}, whatever its suffix says; unpack it, or save it as .csv")
    try:
        text = data.decode("utf-8")
        return text if "\n" in text else text.replace("\r", "\n")  # lines that end with CR alone
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"0x{data[error.start]:02x}"
        raise get_data_origin(path).make_error(
            line, f"byte {byte} is not UTF-8; save the file as UTF-8"
        ) from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the non-empty lines with their numbers, split at LF or CRLF only."""
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if stripped := line.removesuffix("\r"):
            yield number, stripped


def _tsv_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    return ((number, line.split("\t")) for number, line in _lines(path))


def _csv_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(sys.maxsize)
    text = _read_text(path)
    declared = re.match(r"sep=(.)\r?\n", text)  # the first line of a file that Excel wrote
    stream = io.StringIO(text[declared.end() :] if declared else text)
    reader = csv.reader(stream, strict=True, delimiter=declared[1] if declared else ",")
    start = before = 1 + bool(declared)
    try:
        for record in reader:
            if record:
                yield start, record
            start = reader.line_num + before
    except csv.Error as error:
        advice = "check the quotes of this row"
        if "new-line character" in str(error):
            advice = "it has a CR that ends no line; save the file with the same line ends (LF) everywhere"
        raise get_data_origin(path).make_error(start, f"broken CSV: {error}; {advice}") from None


def _apply_header(
    path: Path, records: Iterable[tuple[int, list[str]]], headless: tuple[str, ...] = ()
) -> Iterator[DataRow]:
    """Yield rows by column: the first record names the columns, unless the file is headless."""
    columns: list[str] = []
    for number, fields in records:
        if not columns:
            if len(fields) != len(headless) or set(headless) & set(fields):
                columns = _parse_header(path, number, fields)
                continue
            columns = list(headless)
        if len(fields) == len(columns):
            yield DataRow(number, dict(zip(columns, fields, strict=True)))
        else:
            problem = f"{len(fields)} columns where {len(columns)} are expected"
            yield DataRow(number, {}, problem + _explain_width(path, columns, fields))


def _explain_width(path: Path, columns: list[str], fields: list[str]) -> str:
    """Return the likely reason why a row is not as wide as the header; "" if none is known."""
    if reason := explain_separator(path.name, columns):
        return f" ({reason})"
    if path.suffix.lower() != ".csv" and any('"' in field for field in fields):
        return " (quotes are ordinary characters in this format; a text with tabs needs .csv or .jsonl)"
    if any(field.startswith(' "') for field in fields):
        return " (a quote after a space does not quote; remove the space)"
    return ""


def explain_separator(file: str, columns: Sequence[str]) -> str:
    """Return why a file has a single column, if its name shows other separators than those of the suffix, and
    the remedy; "" otherwise."""
    separators = {".csv": ";\t|", ".tsv": ";|,"}.get(Path(file).suffix.lower(), "")
    found = next((mark for mark in separators if len(columns) == 1 and mark in columns[0]), None)
    if found is None:
        return ""
    remedy = {",": "call it .csv", "\t": "call it .tsv"}.get(found, "save it with commas as .csv")
    return f"columns separated by {found!r} do not match the suffix; {remedy}"


def _parse_header(path: Path, number: int, fields: list[str]) -> list[str]:
    columns = [field.strip() for field in fields]
    twice = [name for name in columns if name and columns.count(name) > 1]
    if twice:
        raise get_data_origin(path).make_error(
            number, f"column {quote_value(twice[0])} appears twice in the header"
        )
    if quoted := [name for name in columns if len(name) > 1 and name[0] == name[-1] == '"']:
        reason = _explain_width(path, columns, fields) or " (a quote that is not doubled)"
        raise get_data_origin(path).make_error(
            number,
            f"column {quote_value(quoted[0])} has its quotes in its name{reason}; save it without them",
        )
    return columns


def _read_jsonl(path: Path) -> Iterator[DataRow]:
    for number, line in _lines(path):
        try:
            values = json.loads(line, object_pairs_hook=_make_object)
        except (ValueError, RecursionError) as error:
            raise get_data_origin(path).make_error(
                number, f"not JSON: {quote_value(line)} ({error})"
            ) from None
        if not isinstance(values, dict):
            raise get_data_origin(path).make_error(number, f"{quote_value(line)} is not a JSON object")
        yield DataRow(number, values)


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {quote_value(twice, 30)} appears twice; remove one")
    return values


def _read_parquet(path: Path) -> Iterator[DataRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    limit, size, number = _limit_unfolded_size(path), 0, 0
    try:
        with pq.ParquetFile(path) as file:
            groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
            largest = max((group.total_byte_size for group in groups), default=0)
            if largest > limit:
                raise _make_size_error(path, limit)
            for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS):
                batch.validate(full=True)
                rows = batch.to_pylist()
                characters = sum(
                    len(field) for row in rows for field in row.values() if isinstance(field, str)
                )
                size += max(batch.nbytes, characters)  # a dictionary stores a text once
                if size > limit:
                    raise _make_size_error(path, limit)
                for values in rows:
                    number += 1
                    yield DataRow(number, values)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable parquet file: {str(error).splitlines()[0]}") from None
    except MemoryError:
        raise _make_size_error(path, limit) from None


def _limit_unfolded_size(path: Path) -> float:
    """Return the bytes that a file may unfold to, given its size and the free memory."""
    packed = path.stat().st_size if path.is_file() else 0
    return min(psutil.virtual_memory().available / 4, max(MIN_UNFOLDED_BYTES, MAX_UNFOLDING * packed))


def _make_size_error(path: Path, limit: float) -> InputError:
    return InputError(
        f"{path}: unfolds to more than {limit / 2**20:,.0f} MiB, which is too much for its size or this "
        f"machine's free memory; give fewer rows or shorter texts"
    )
