"""Turns a finished folder of a study or an audit into what each of its models said.

Knows where files lie; what is made of them is `comparing`'s affair.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spillover.errors import DataError
from spillover.evaluation.across_runs import Judged
from spillover.records import Answer, Completion, Verdict
from spillover.report.page import flat_items
from spillover.study.artifacts import (
    RunFolder,
    load_answer_file,
    load_completion_file,
    load_verdict_file,
)
from spillover.study.audit.outputs import load_audit
from spillover.study.config.model_runs import model_runs
from spillover.study.evaluation.page import load_run_study

_NO_SETTINGS = ("name", "description", "grid")
"Keys of a study that change nothing that is measured."


@dataclass(frozen=True, kw_only=True)
class RunModel:
    """One model of one seed, and what it said."""

    name: str
    seed: int
    said: tuple[Judged, ...]
    answers: tuple[Answer, ...]
    "Choices at the capability questions; empty where there are none."


@dataclass(frozen=True, kw_only=True)
class RunSide:
    """One of the two folders that are compared."""

    kind: str
    "`study` or `audit`."
    name: str
    judge: str
    "The judge's name with its version."
    deflection_is_refusal: bool
    models: Mapping[str, tuple[RunModel, ...]]
    "Name -> the model under each seed."
    settings: Mapping[str, str]
    "Dotted key -> value, as text."


def read_side(path: Path) -> RunSide:
    """Read one finished folder.

    Raises:
        DataError: If nothing in the folder is finished, or a file in it is broken.
    """
    folder = RunFolder(path)
    if (path / "audit.json").exists():
        return _read_audit(folder)
    if folder.manifest.exists() and folder.study.exists():
        return _read_study(folder)
    raise DataError(
        f"{path}: holds no finished run (manifest.json) and no finished audit (audit.json); give "
        "the --out of two of either"
    )


def _read_study(folder: RunFolder) -> RunSide:
    config = load_run_study(folder)
    models: dict[str, tuple[RunModel, ...]] = {}
    for run in model_runs(config):
        found = RunModel(
            name=run.model,
            seed=run.seed,
            said=_judged(
                folder, run.artifact, folder.verdicts(run.artifact, config.evaluate.judge)
            ),
            answers=tuple(load_answer_file(folder.answers(run.artifact))),
        )
        models[run.model] = (*models.get(run.model, ()), found)
    settings = config.model_dump(mode="json", exclude=set(_NO_SETTINGS))
    return RunSide(
        kind="study",
        name=_name(folder, config.name),
        judge=_judge(models),
        deflection_is_refusal=config.evaluate.deflection_is_refusal,
        models=models,
        settings=dict(flat_items(settings)),
    )


def _read_audit(folder: RunFolder) -> RunSide:
    content = load_audit(folder.path / "audit.json")
    models = {
        role: (
            RunModel(
                name=role,
                seed=int(content["settings"]["seed"]),
                said=_judged(folder, role, _audit_verdicts(folder, role, content["judge"])),
                answers=tuple(load_answer_file(folder.answers(role))),
            ),
        )
        for role in content["models"]
    }
    settings: dict[str, Any] = {"models": content["models"], **content["settings"]}
    return RunSide(
        kind="audit",
        name=_name(folder, str(content["models"]["tuned"])),
        judge=str(content["judge"]),
        deflection_is_refusal=True,
        models=models,
        settings=dict(flat_items(settings)),
    )


def _name(folder: RunFolder, what: str) -> str:
    """Return the folder's own name, and what is in it where that is another one."""
    own = folder.path.resolve().name
    return own if own == what else f"{own} ({what})"


def _audit_verdicts(folder: RunFolder, role: str, judge: str) -> Path:
    """Return the verdicts of the judge that the audit names; the folder may hold others'."""
    for path in sorted(folder.path.glob(f"verdicts/{role}__*.jsonl")):
        rows = load_verdict_file(path)
        if rows and rows[0].judge == judge:
            return path
    raise DataError(f"{folder.path}: has no verdicts on {role} by {judge}; run the audit again")


def _judged(folder: RunFolder, name: str, verdicts: Path) -> tuple[Judged, ...]:
    completions: list[Completion] = load_completion_file(folder.completions(name))
    labels: list[Verdict] = load_verdict_file(verdicts)
    if not completions or [c.id for c in completions] != [v.id for v in labels]:
        raise DataError(
            f"{folder.path}: completions and verdicts of {name} do not fit each other, or are "
            "missing; run the study or audit to its end"
        )
    return tuple(Judged(completion=c, verdict=v) for c, v in zip(completions, labels, strict=True))


def _judge(models: Mapping[str, tuple[RunModel, ...]]) -> str:
    first = next(iter(models.values()))[0]
    return first.said[0].verdict.judge
