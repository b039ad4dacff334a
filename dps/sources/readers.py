"""Reading of data files, row by row with the number of each row.

Formats by suffix: .csv (ordinary quoting), .tsv and .txt (tab-separated, quotes are ordinary characters, as
in the GLUE files), .jsonl (an object a line) and .parquet. No other suffix is ever opened.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dps.errors import InputError
from dps.paths import DATA_SUFFIXES
from dps.text import quote_value


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
    return DataOrigin(str(path), ": row " if path.suffix == ".parquet" else ":")


def read_rows(path: Path, headless: tuple[str, ...] = ()) -> Iterator[DataRow]:
    """Yield the rows of one file, in order.

    headless: columns of a .tsv file without a header, recognised by their number.

    Raises InputError naming file and line: unreadable, an unknown suffix, not UTF-8, a column twice in the
    header, broken quoting, not JSON, not parquet.
    """
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.suffix == ".jsonl":
        return _read_jsonl(path)
    if path.suffix == ".csv":
        return _apply_header(path, _csv_records(path))
    if path.suffix in (".tsv", ".txt"):
        return _apply_header(path, _tsv_records(path), headless)
    raise InputError(f"{path}: only {', '.join(DATA_SUFFIXES)} files are read; convert it to one of them")


def read_file_bytes(path: Path) -> bytes:
    """Return the bytes of a file. Raises InputError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def _read_text(path: Path) -> str:
    data = read_file_bytes(path).removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode("utf-8")
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
    reader = csv.reader(io.StringIO(_read_text(path)), strict=True)
    start = 1
    try:
        for record in reader:
            if record:
                yield start, record
            start = reader.line_num + 1
    except csv.Error as error:
        raise get_data_origin(path).make_error(
            start, f"broken CSV: {error}; check the quotes of this row"
        ) from None


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
            yield DataRow(number, {}, f"{len(fields)} columns where {len(columns)} are expected")


def _parse_header(path: Path, number: int, fields: list[str]) -> list[str]:
    columns = [field.strip() for field in fields]
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise get_data_origin(path).make_error(
            number, f"column {quote_value(twice[0])} appears twice in the header"
        )
    return columns


def _read_jsonl(path: Path) -> Iterator[DataRow]:
    for number, line in _lines(path):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise get_data_origin(path).make_error(
                number, f"not JSON: {quote_value(line)} ({error})"
            ) from None
        if not isinstance(values, dict):
            raise get_data_origin(path).make_error(number, f"{quote_value(line)} is not a JSON object")
        yield DataRow(number, values)


def _read_parquet(path: Path) -> Iterator[DataRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable parquet file: {str(error).splitlines()[0]}") from None
    number = 0
    for batch in table.to_batches():
        for values in batch.to_pylist():
            number += 1
            yield DataRow(number, values)
