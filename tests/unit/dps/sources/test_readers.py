"""Files that are larger than they look."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dps.errors import InputError
from dps.sources import readers
from dps.sources.readers import read_rows


def write_parquet(file: Path, rows: int, words: int, dictionary: bool) -> None:
    text = "word " * words
    texts = pa.array([text] * rows)
    if dictionary:
        texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))
    pq.write_table(pa.table({"text": texts}), file, use_dictionary=dictionary, compression="zstd")


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_parquet_file_that_unfolds_beyond_its_size_is_refused(
    tmp_path: Path, dictionary: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(tmp_path / "a.parquet", 1000, 2000, dictionary)
    assert (tmp_path / "a.parquet").stat().st_size < 2**18
    monkeypatch.setattr(readers, "MIN_UNFOLDED_BYTES", 2**20)
    monkeypatch.setattr(readers, "MAX_UNFOLDING", 2)
    with pytest.raises(InputError, match=r"a.parquet: unfolds to more than 1 MiB, .*; give fewer rows"):
        list(read_rows(tmp_path / "a.parquet"))
    monkeypatch.setattr(readers, "MIN_UNFOLDED_BYTES", 2**29)
    assert len(list(read_rows(tmp_path / "a.parquet"))) == 1000


def test_rows_of_parquet_are_numbered_over_batches(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", 1200, 2, False)
    assert [row.number for row in read_rows(tmp_path / "a.parquet")] == list(range(1, 1201))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x1f\x8b\x08\x00", "is compressed (gzip), whatever its suffix says; unpack it"),
        (b"PK\x03\x04\x00", "is a zip archive or an Excel file"),
        (b"PAR1", "is a parquet file"),
    ],
)
def test_a_file_that_is_something_else_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(read_rows(tmp_path / "a.csv"))
    assert says in str(caught.value)
