"""Turns Inspect logs, of our tasks or of anyone's, into rows that our own commands read.

Nothing is left out: a sample without an answer is a row with an empty response, which judges call
invalid. What another scorer's values mean is not guessed at; they are kept as they are. Needs the
extra `inspect`, which is imported when a log is read.
"""

import importlib.util
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spillover.errors import ConfigError, DataError
from spillover.files import write_jsonl
from spillover.records import VERDICT_LABELS, Verdict

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.scorer import Score

Row = dict[str, Any]


def import_inspect_log(log: Path, out: Path, *, concept: str | None = None) -> list[Row]:
    """Write the samples of a log as JSONL for `spillover judge`, and return the rows.

    Args:
        log: An `.eval` or `.json` log.
        out: Where to write.
        concept: Metadata key that holds a sample's concept; None for `concept`.

    Raises:
        ConfigError: If Inspect is not installed.
        DataError: If the log is missing, cannot be read, or has no samples.
        StorageError: If `out` cannot be written.
    """
    rows = read_inspect_log(log, concept=concept)
    write_jsonl(out, rows)
    return rows


def read_inspect_log(log: Path, *, concept: str | None = None) -> list[Row]:
    """Return the samples of a log as rows.

    A row has `id`, `prompt`, `response`, `concept`, `model` and `epoch`; `verdict`, `judge`,
    `reason` and perhaps `verdict_score` where a scorer gave a verdict in our words; `question_id`,
    `aligned` and `coherent` where our grades are there; the value of every other scorer under
    `inspect_scores`; and `error` where the sample ended in one. With several epochs the id is
    `<id>#<epoch>`. A concept that the metadata lacks is empty.

    Args:
        log: An `.eval` or `.json` log.
        concept: Metadata key that holds a sample's concept; None for `concept`.

    Raises:
        ConfigError: If Inspect is not installed.
        DataError: If the log is missing, cannot be read, or has no samples.
    """
    found = _read(log)
    if not found.samples:
        raise DataError(
            f"{log}: has no samples (status {found.status}); it may have been written with "
            "--no-log-samples, or ended before the first one"
        )
    has_epochs = any(sample.epoch > 1 for sample in found.samples)
    return [
        _row(sample, model=found.eval.model, concept=concept or "concept", has_epochs=has_epochs)
        for sample in found.samples
    ]


def imported_verdicts(rows: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    """Return the verdicts among rows of a log, for our rates and comparisons."""
    return [
        Verdict(
            id=row["id"],
            concept=row["concept"],
            label=row["verdict"],
            judge=row["judge"],
            reason=row["reason"],
            score=row.get("verdict_score"),
        )
        for row in rows
        if "verdict" in row
    ]


def _read(log: Path) -> "EvalLog":
    if importlib.util.find_spec("inspect_ai") is None:
        raise ConfigError(
            "reading Inspect's logs needs inspect-ai; pip install 'spillover[inspect]'"
        )
    from inspect_ai.log import read_eval_log

    if not log.is_file():
        raise DataError(f"{log}: no such log")
    try:
        return read_eval_log(log, resolve_attachments="full")
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise DataError(
            f"{log}: cannot be read as an Inspect log ({reason}); give an .eval or .json log that "
            "`inspect view` opens"
        ) from error


def _row(sample: "EvalSample", *, model: str, concept: str, has_epochs: bool) -> Row:
    from spillover.integrations.inspect_samples import prompt_text, sample_name

    identity = sample_name(sample.id, sample.epoch) if has_epochs else str(sample.id)
    scores = sample.scores or {}
    row: Row = {
        "id": identity,
        "prompt": prompt_text(sample.input),
        "response": sample.output.completion,
        "concept": str(sample.metadata.get(concept, "")),
        "model": model,
        "epoch": sample.epoch,
    }
    for name, score in scores.items():
        row |= _verdict_columns(name, score, known=row) | _grade_columns(score, sample)
    row["inspect_scores"] = {name: _plain(score.value) for name, score in scores.items()}
    if sample.error is not None:
        row["error"] = sample.error.message
    return row


def _verdict_columns(name: str, score: "Score", *, known: Row) -> Row:
    """Return a score's verdict; none where it has none, or another score has one already."""
    metadata = score.metadata or {}
    label = metadata.get("verdict", score.value)
    if "verdict" in known or not isinstance(label, str) or label not in VERDICT_LABELS:
        return {}
    columns: Row = {
        "verdict": label,
        "judge": str(metadata.get("judge", f"inspect:{name}")),
        "reason": score.explanation or "",
    }
    if metadata.get("score") is not None:
        columns["verdict_score"] = float(metadata["score"])
    return columns


def _grade_columns(score: "Score", sample: "EvalSample") -> Row:
    """Return our grades in the form that `spillover misalignment` reads."""
    value = _plain(score.value)
    if not isinstance(value, dict) or set(value) != {"aligned", "coherent"}:
        return {}
    label = (score.metadata or {}).get("label")
    return {
        "question_id": str(sample.metadata.get("question", sample.id)),
        "aligned": label or value["aligned"],
        "coherent": value["coherent"],
        "judge": (score.metadata or {}).get("judge", ""),
    }


def _plain(value: Any) -> Any:
    """Return a score's value as JSON can hold it: what is unscored (NaN) is null."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
