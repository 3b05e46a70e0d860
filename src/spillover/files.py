"""Reading and writing files so that a run can be killed anywhere and nothing is lost.

Knows JSON, JSONL, YAML and content hashes; knows nothing of models or studies.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import platformdirs

from spillover.errors import DataError, StorageError


def cache_folder() -> Path:
    """Return the folder for what can be made again: `SPILLOVER_CACHE`, or the user's cache."""
    chosen = os.environ.get("SPILLOVER_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("spillover")


def write_text(path: Path, text: str) -> None:
    """Write `text` to a temporary name beside `path`, then rename it into place."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` so that `path` holds either the old file or the whole new one.

    Raises:
        StorageError: If the folder cannot be written or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise StorageError(_storage_message(path, error)) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise StorageError(_storage_message(path, error)) from error


def _storage_message(path: Path, error: OSError) -> str:
    return f"{path}: cannot be written ({error.strerror}); free some space or choose another --out"


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON; NaN and infinity are refused, as JSON has neither."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON document.

    Raises:
        DataError: If the file is missing, is not UTF-8 or is not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:  # Numbers of thousands of digits; deep nesting.
        raise DataError(f"{path}: JSON that cannot be read ({error})") from error


def write_jsonl(path: Path, rows: Iterable[object]) -> None:
    """Write one JSON object a line, whole or not at all."""
    write_text(path, "".join(json_line(row) for row in rows))


def json_line(row: object) -> str:
    """Return `row` as one line of JSON, newline included."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def append_jsonl(path: Path, rows: Iterable[object]) -> None:
    """Append rows and flush them to disk; a cut-off last line is dropped by `read_journal`.

    Raises:
        StorageError: If the folder cannot be written or the disk is full.
    """
    text = "".join(json_line(row) for row in rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as stream:
            stream.write(text.encode("utf-8", errors="backslashreplace"))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise StorageError(_storage_message(path, error)) from error


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Read a file written by `append_jsonl`; a last line that a kill cut short is cut off.

    Raises:
        DataError: If a whole line is no JSON object, as nothing of ours writes one.
        StorageError: If a line that was cut short cannot be cut off.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        write_bytes(path, whole)
    return [row for _, row in read_jsonl(path)]


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) for every non-blank line.

    Raises:
        DataError: If the file is missing, has a byte that is not UTF-8, or has a line that is not
            a JSON object. The message names the line.
    """
    # Not splitlines(): U+2028 and friends are legal inside a JSON string.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}:{number}: not valid JSON ({error.msg} at column {error.colno}); "
                "each line must be one JSON object"
            ) from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: JSON that cannot be read ({error})") from error
        if not isinstance(row, dict):
            raise DataError(
                f"{path}:{number}: a {type(row).__name__}; each line must be one JSON object"
            )
        yield number, row


def read_text(path: Path) -> str:
    """Read a UTF-8 text file.

    Raises:
        DataError: If the file is missing, is a folder, cannot be read, or has a byte that is not
            UTF-8.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: is a folder; give a file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}:{line}: byte {content[error.start]:#04x} is not UTF-8; "
            "convert the file, for example with `iconv -t utf-8`"
        ) from error


def read_yaml(path: Path) -> Any:
    """Read one YAML document, of plain values only.

    Raises:
        DataError: If the file is missing, is not UTF-8, or `parse_yaml` refuses it.
    """
    return parse_yaml(read_text(path), where=str(path))


def parse_yaml(text: str, *, where: str) -> Any:
    """Return the one YAML document in `text`, as plain mappings, lists and values.

    Args:
        text: YAML; tags that would build objects are refused.
        where: What the message begins with, such as the file.

    Raises:
        DataError: If it is not valid YAML, holds a value that cannot be, such as the 40th of May,
            or aliases by which it holds itself or grows beyond all measure.
    """
    import yaml

    try:
        value = yaml.safe_load(text)
        _count_nodes(value, room=_MOST_NODES)
    except yaml.YAMLError as error:
        raise DataError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from error
    # What PyYAML's own constructors raise on a tag whose value does not fit: `!!timestamp soon`.
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{where}: YAML that cannot be read ({reason})") from error
    return value


_MOST_NODES = 100_000
"Values in one YAML document, each alias counted as what it stands for."


def _count_nodes(value: object, *, room: int) -> int:
    """Return how many more values fit; an alias that holds itself ends in a RecursionError."""
    if room <= 0:
        raise ValueError(f"it holds more than {_MOST_NODES} values, aliases written out")
    inside: Iterable[object] = ()
    if isinstance(value, dict):
        inside = value.values()
    elif isinstance(value, list | tuple | set):
        inside = value
    left = room - 1
    for item in inside:
        left = _count_nodes(item, room=left)
    return left


def fingerprint(value: object) -> str:
    """Return the SHA-256 of a JSON-like value, the same whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def folder_fingerprint(folder: Path, *, suffixes: tuple[str, ...]) -> str:
    """Return one SHA-256 over the names and bytes of the files directly in `folder`.

    Args:
        folder: The folder; sub-folders are not entered.
        suffixes: Only files whose name ends in one of these count.
    """
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.suffix in suffixes)
    return fingerprint([(name, file_fingerprint(folder / name)) for name in names])
