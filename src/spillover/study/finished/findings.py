"""Turns a finished audit's or study's folder into the few rows that a terminal has room for.

Reads what is on disk and computes nothing; the whole is on the page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spillover.errors import DataError
from spillover.files import read_json
from spillover.records import Comparison, Record, Score
from spillover.report.chains import ALIGNED
from spillover.study.artifacts import RunFolder, load_comparisons, load_scores
from spillover.study.audit.outputs import load_audit


@dataclass(frozen=True, kw_only=True)
class Shown(Record):
    """What a folder's findings are in short."""

    kind: str
    "`audit` or `study`."
    title: str
    page: str
    "Path of the page; empty where there is none."
    audit: dict[str, Any] | None
    "The content of `audit.json`; None for a study."
    comparisons: tuple[Comparison, ...]
    "Of a study: every change that came of an intervention."
    scores: tuple[Score, ...]
    "Of an evaluation, where there is nothing to compare."
    findings: dict[str, tuple[str, ...]]
    """Of a study, what its page says in words: `headline`, `happened`, `certainty`, `next_steps`;
    empty where no report has been written."""


def read_findings(path: Path) -> Shown:
    """Read the findings of a finished folder.

    Raises:
        DataError: If there is no such folder, or nothing in it is finished.
    """
    folder = RunFolder(path)
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; give the --out of a run, evaluation or audit")
    if (path / "audit.json").exists():
        content = load_audit(path / "audit.json")
        return _shown("audit", path, page=path / "audit.html", audit=content)
    if folder.stage("audit").exists():
        raise DataError(f"{path}: the audit is not finished; give the same command to go on")
    if folder.study.exists() and not folder.manifest.exists():
        raise DataError(f"{path}: the run is not finished; `spillover run` goes on where it was")
    if folder.comparisons.exists():
        rows = load_comparisons(folder.comparisons)
        said = read_json(folder.findings) if folder.findings.exists() else {}
        return _shown(
            "study", path, page=folder.report, comparisons=tuple(_summed(rows)), findings=said
        )
    if folder.scores.exists():
        return _shown(
            "evaluation", path, page=folder.report, scores=tuple(load_scores(folder.scores))
        )
    raise DataError(f"{path}: holds no findings (audit.json, comparisons.json or scores.json)")


def _shown(
    kind: str,
    path: Path,
    *,
    page: Path,
    audit: dict[str, Any] | None = None,
    comparisons: tuple[Comparison, ...] = (),
    scores: tuple[Score, ...] = (),
    findings: Mapping[str, Sequence[str]] | None = None,
) -> Shown:
    manifest = RunFolder(path).manifest
    study = read_json(manifest).get("study") if manifest.exists() else None
    return Shown(
        kind=kind,
        title=str(audit["models"]["tuned"] if audit else study or path.name),
        page=str(page) if page.exists() else "",
        audit=audit,
        comparisons=comparisons,
        scores=scores,
        findings={name: tuple(lines) for name, lines in (findings or {}).items()},
    )


def _summed(rows: list[Comparison]) -> list[Comparison]:
    """Return the rows over seeds where there are some, else those of the only seed.

    Pairs of models come as a story goes: base, aligned, then what became of it.
    """
    over = [row for row in rows if row.seed is None]
    whole = {(row.before, row.after) for row in over}
    found = over + [row for row in rows if (row.before, row.after) not in whole]
    return sorted(found, key=_place_in_story)


def _place_in_story(row: Comparison) -> tuple[int, str, bool, int]:
    kind, _, target = row.after.partition("-")
    stages, metrics = ("base", ALIGNED, row.before), ("refusal_rate", "over_refusal", row.metric)
    return (
        stages.index(row.before),
        target,
        kind.startswith("contained"),
        metrics.index(row.metric),
    )
