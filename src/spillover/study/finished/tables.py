"""Turns a finished folder into tables that other programs read: CSV or Parquet, and its figures.

Knows where files lie; what the columns mean stands in `docs/run-folder.md`.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spillover.errors import ConfigError, DataError, StorageError
from spillover.evaluation.frames import to_frame, whole_characters
from spillover.files import read_journal, write_bytes, write_text
from spillover.records import Comparison, Recovery, Score
from spillover.report.downloads import csv_text
from spillover.study.artifacts import (
    RunFolder,
    load_comparisons,
    load_completion_file,
    load_recoveries,
    load_scores,
    load_verdict_file,
)
from spillover.study.audit.outputs import load_audit

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("csv", "parquet")
_AUDIT_PARTS = ("verdicts", "effects", "checks", "layers")


def export_tables(path: Path, out: Path, *, kind: str = "csv") -> list[Path]:
    """Write every table of a finished folder, and its figures, to another folder.

    Tables are `scores`, `comparisons`, `recoveries`, `answers` (each answer with each judge's
    label), `choices` (at multiple-choice questions), `training` (curves), and of an audit
    `audit_verdicts`, `audit_effects`, `audit_checks` and `audit_layers`; those that the folder has
    nothing for are left out. In CSV, text that a spreadsheet would run as a formula begins with a
    quote, and what cannot be seen is written out; Parquet holds text as it is, but for halves of
    surrogate pairs, which are written out.

    Args:
        path: Folder of a finished study, evaluation or audit.
        out: Folder for the tables; made if missing.
        kind: `csv` or `parquet`.

    Returns:
        The files, in the order of their names.

    Raises:
        ConfigError: If there is no such format.
        DataError: If the folder holds no scores and no audit, or a file in it is broken.
        StorageError: If `out` cannot be written.
    """
    if kind not in FORMATS:
        raise ConfigError(f"format {kind!r} is not known; choose one of: {', '.join(FORMATS)}")
    frames = frames_of(path)
    if not frames:
        raise DataError(f"{path}: holds no table; give the --out of a run, evaluation or audit")
    write = _write_csv if kind == "csv" else _write_parquet
    files = [write(out / f"{name}.{kind}", frame) for name, frame in frames.items()]
    return sorted([*files, *_copy_figures(path / "figures", out / "figures")])


def frames_of(path: Path) -> "dict[str, pd.DataFrame]":
    """Return every table that a folder holds, by name."""
    import pandas as pd

    folder = RunFolder(path)
    found: dict[str, pd.DataFrame] = {}
    if folder.scores.exists():
        found["scores"] = to_frame(load_scores(folder.scores), kind=Score)
    if folder.comparisons.exists():
        found["comparisons"] = to_frame(load_comparisons(folder.comparisons), kind=Comparison)
    if folder.recoveries.exists():
        found["recoveries"] = to_frame(load_recoveries(folder.recoveries), kind=Recovery)
    for name, rows in _loose_rows(folder).items():
        if rows:
            found[name] = pd.DataFrame(
                [{key: whole_characters(value) for key, value in row.items()} for row in rows]
            )
    return found


def _loose_rows(folder: RunFolder) -> dict[str, list[dict[str, Any]]]:
    found = {
        "answers": list(_answers(folder)),
        "choices": list(_named(folder, "answers/*.jsonl", lambda path: path.stem)),
        "training": list(_named(folder, "models/*/metrics.jsonl", lambda path: path.parent.name)),
    }
    file = folder.path / "audit.json"
    if file.exists():
        content = load_audit(file)
        found |= {f"audit_{part}": list(content[part]) for part in _AUDIT_PARTS}
    return found


def _answers(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """Yield every answer, once for each judge, with that judge's label."""
    for path in sorted(folder.path.glob("completions/*.jsonl")):
        said = load_completion_file(path)
        for verdicts in sorted(folder.path.glob(f"verdicts/{path.stem}__*.jsonl")):
            labels = {(v.concept, v.id): v for v in load_verdict_file(verdicts)}
            for row in said:
                verdict = labels.get((row.concept, row.id))
                if verdict is not None:
                    yield {
                        "artifact": path.stem,
                        **row.to_dict(),
                        "label": verdict.label,
                        "judge": verdict.judge,
                        "reason": verdict.reason,
                        "judge_score": verdict.score,
                    }


def _named(
    folder: RunFolder, pattern: str, name: Callable[[Path], str]
) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.path.glob(pattern)):
        for row in read_journal(path):
            yield {"artifact": name(path), **row}


def _write_csv(path: Path, frame: "pd.DataFrame") -> Path:
    rows: Sequence[Mapping[str, Any]] = [
        {str(key): None if _is_missing(value) else value for key, value in row.items()}
        for row in frame.to_dict("records")
    ]
    write_text(path, csv_text(rows, columns=[str(column) for column in frame.columns]))
    return path


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_scalar(value)) and bool(pd.isna(value))


def _write_parquet(path: Path, frame: "pd.DataFrame") -> Path:
    write_bytes(path, frame.to_parquet(index=False))
    return path


def _copy_figures(source: Path, target: Path) -> list[Path]:
    """Copy the folder's figures and the numbers behind them."""
    files = [path for path in sorted(source.glob("*")) if path.suffix in (".svg", ".csv", ".pdf")]
    try:
        if files:
            target.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copyfile(path, target / path.name)) for path in files]
    except OSError as error:
        raise StorageError(
            f"{target}: cannot be written ({error.strerror}); choose another --out"
        ) from error
