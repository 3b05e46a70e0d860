"""Where everything of a run lies on disk, and how records get there and back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from spillover.errors import DataError
from spillover.evaluation.frames import to_frame
from spillover.files import read_journal, read_json, write_bytes, write_json, write_jsonl
from spillover.judges import spec_file_name
from spillover.records import (
    Answer,
    Comparison,
    Completion,
    Example,
    Prompt,
    Record,
    Recovery,
    Score,
    Verdict,
)

RecordType = TypeVar("RecordType", bound=Record)


@dataclass(frozen=True)
class RunFolder:
    """One run's folder; the layout is described in `docs/run-folder.md`."""

    path: Path

    def prompts(self, split: str) -> Path:
        """Prompts of a split."""
        return self.path / "data" / f"{split}.jsonl"

    def examples(self, name: str) -> Path:
        """Training examples of a set, such as `forget-safety`."""
        return self.path / "data" / f"{name}.jsonl"

    def model(self, name: str) -> Path:
        """A model's folder: a PEFT adapter, or a whole model after full-rank training."""
        return self.path / "models" / name

    def completions(self, name: str) -> Path:
        """A model's completions of the test prompts."""
        return self.path / "completions" / f"{name}.jsonl"

    def verdicts(self, name: str, judge: str | Mapping[str, Any]) -> Path:
        """A judge's verdicts on a model's completions; `judge` is its specification."""
        return self.path / "verdicts" / f"{name}__{spec_file_name(judge)}.jsonl"

    def answers(self, name: str) -> Path:
        """A model's choices at the capability questions."""
        return self.path / "answers" / f"{name}.jsonl"

    def margins(self, name: str, suite: str) -> Path:
        """A model's margins on a suite of pairs in one form, such as `value_pairs_choice`."""
        return self.path / "margins" / f"{name}__{suite}.jsonl"

    def suites(self, name: str) -> Path:
        """A model's scores on the study's suites."""
        return self.path / "suites" / f"{name}.json"

    @property
    def cache(self) -> Path:
        """Journals of generation, by content."""
        return self.path / "cache"

    @property
    def scores(self) -> Path:
        """All scores, as JSON."""
        return self.path / "scores.json"

    @property
    def comparisons(self) -> Path:
        """All paired comparisons, as JSON."""
        return self.path / "comparisons.json"

    @property
    def recoveries(self) -> Path:
        """What containment took back, as JSON."""
        return self.path / "recoveries.json"

    @property
    def containments(self) -> Path:
        """How the containments of a study with several compare, as JSON."""
        return self.path / "containments.json"

    @property
    def stress(self) -> Path:
        """How models did in other conditions than the plain test, as JSON."""
        return self.path / "stress.json"

    @property
    def study(self) -> Path:
        """The resolved study."""
        return self.path / "study.yaml"

    @property
    def manifest(self) -> Path:
        """Versions, hardware, fingerprints and wall times."""
        return self.path / "manifest.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    @property
    def findings(self) -> Path:
        """What the page says in words, as JSON."""
        return self.path / "findings.json"

    @property
    def figures(self) -> Path:
        """Figures as SVG."""
        return self.path / "figures"

    def explanation(self, name: str) -> Path:
        """The explanation of one intervention, in a folder of its own."""
        return self.path / "explain" / name

    def stage(self, name: str) -> Path:
        """The mark of a finished stage."""
        return self.path / "stages" / f"{name}.json"


def save_records(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSONL, whole or not at all."""
    write_jsonl(path, [record.to_dict() for record in records])


def _load(path: Path, kind: type[RecordType]) -> list[RecordType]:
    return _as_records(read_journal(path), kind, path=path)


def _as_records(rows: object, kind: type[RecordType], *, path: Path) -> list[RecordType]:
    """Build records from rows; those of another version may lack a field, and are named."""
    if not isinstance(rows, list):
        raise DataError(f"{path}: holds a {type(rows).__name__}, not a list of rows")
    return [_as_record(row, kind, where=f"{path}: row {n}") for n, row in enumerate(rows, start=1)]


def _as_record(row: object, kind: type[RecordType], *, where: str) -> RecordType:
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: a {type(row).__name__}; each row must be an object")
    needed = [
        field.name
        for field in fields(kind)
        if field.default is MISSING and field.default_factory is MISSING
    ]
    if missing := [name for name in needed if name not in row]:
        raise DataError(
            f"{where}: has no {', '.join(missing)}; another version of Spillover may have written "
            "it. Read it with that version, or run again with another --out"
        )
    return kind.from_dict(row)


def load_prompt_file(path: Path) -> list[Prompt]:
    """Read prompts of a run."""
    return _load(path, Prompt)


def load_example_file(path: Path) -> list[Example]:
    """Read training examples of a run."""
    return _load(path, Example)


def load_completion_file(path: Path) -> list[Completion]:
    """Read completions of a run."""
    return _load(path, Completion)


def load_verdict_file(path: Path) -> list[Verdict]:
    """Read verdicts of a run."""
    return _load(path, Verdict)


def load_answer_file(path: Path) -> list[Answer]:
    """Read answers of a run."""
    return _load(path, Answer)


def load_metrics(path: Path) -> list[dict[str, Any]]:
    """Read a training's `metrics.jsonl`."""
    return read_journal(path)


def save_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write scores as JSON, and as Parquet with typed columns beside it."""
    write_json(path, [score.to_dict() for score in scores])
    frame = to_frame(scores, kind=Score)
    write_bytes(path.with_suffix(".parquet"), frame.to_parquet(index=False))


def load_scores(path: Path) -> list[Score]:
    """Read `scores.json`."""
    return _as_records(read_json(path), Score, path=path)


def load_comparisons(path: Path) -> list[Comparison]:
    """Read `comparisons.json`."""
    return _as_records(read_json(path), Comparison, path=path)


def load_recoveries(path: Path) -> list[Recovery]:
    """Read `recoveries.json`."""
    return _as_records(read_json(path), Recovery, path=path)
