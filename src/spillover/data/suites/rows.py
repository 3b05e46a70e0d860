"""Any of the file formats in which data sets are published to rows with the place of each.

Knows JSONL, JSON, CSV, TSV and Parquet; knows nothing of what the columns mean.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spillover.errors import DataError
from spillover.files import read_json, read_jsonl, read_text

FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Row:
    """One row and where it stands."""

    where: str
    "File and line, or file and row, for messages."
    number: int
    "Line or row, from 1."
    values: Mapping[str, Any]

    def text(self, *columns: str) -> str:
        """Return the first of the columns that holds text, without surrounding white space.

        Raises:
            DataError: If none does.
        """
        for column in columns:
            value = self.values.get(column)
            if isinstance(value, str) and value.strip():
                return value.strip()
        raise DataError(
            f"{self.where}: none of the columns {', '.join(columns)} holds text; there are "
            f"{', '.join(self.values) or 'none'}; is this the file of another suite?"
        )


def read_rows(path: Path) -> list[Row]:
    """Read all rows of a file.

    Args:
        path: JSONL; JSON that is a list, or an object with one list; CSV or TSV with a header;
            or Parquet. A row that is a string becomes `{"prompt": string}`.

    Raises:
        DataError: If the format is another, the file cannot be read as such, or it has no rows.
    """
    readers = {
        ".jsonl": _from_jsonl,
        ".json": _from_json,
        ".csv": _from_csv,
        ".tsv": _from_csv,
        ".parquet": _from_parquet,
    }
    if path.suffix not in readers:
        raise DataError(
            f"{path}: files that end in {path.suffix!r} are not read; give one of "
            f"{', '.join(FORMATS)}"
        )
    rows = list(readers[path.suffix](path))
    if not rows:
        raise DataError(f"{path}: there are no rows in it")
    return rows


def _from_jsonl(path: Path) -> Iterator[Row]:
    for number, row in read_jsonl(path):
        yield Row(f"{path}:{number}", number, row)


def _from_json(path: Path) -> Iterator[Row]:
    content = read_json(path)
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list)]
        content = lists[0] if len(lists) == 1 else None
    if not isinstance(content, list):
        raise DataError(f"{path}: must be a list of rows, or an object that holds one list")
    for number, row in enumerate(content, start=1):
        values = {"prompt": row} if isinstance(row, str) else row
        if not isinstance(values, dict):
            raise DataError(f"{path}: row {number}: a {type(row).__name__}; rows must be objects")
        yield Row(f"{path}: row {number}", number, values)


def _from_csv(path: Path) -> Iterator[Row]:
    stream = io.StringIO(read_text(path).removeprefix("\ufeff"), newline="")
    reader = csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
    try:
        for number, row in enumerate(reader, start=1):
            if None in row:
                raise DataError(
                    f"{path}:{reader.line_num}: has more cells than the header; quote cells that "
                    "hold the separator"
                )
            yield Row(f"{path}: row {number}", number, row)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not valid CSV ({error})") from error


def _from_parquet(path: Path) -> Iterator[Row]:
    import pyarrow.parquet
    from pyarrow.lib import ArrowException

    try:
        table = pyarrow.parquet.read_table(path)
    except (ArrowException, OSError) as error:
        raise DataError(f"{path}: not valid Parquet ({error})") from error
    for number, row in enumerate(table.to_pylist(), start=1):
        yield Row(f"{path}: row {number}", number, row)
