"""Turns two finished folders into what differs between them, as one page and its numbers.

Reads what is on disk and asks no model. Two studies or two audits are compared, model by model of
the same name; `sides` reads one of them.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spillover.errors import DataError
from spillover.evaluation import compare_seeds
from spillover.evaluation.across_runs import Judged, RunChange, compare_runs
from spillover.evaluation.capability import compare_capability
from spillover.evaluation.grouping import is_benign
from spillover.files import write_json, write_text
from spillover.records import Comparison
from spillover.report.audit_findings import row_change
from spillover.report.run_comparison import RunAnswer, RunComparison, RunDifference
from spillover.stats import holm
from spillover.study.finished.sides import RunModel, RunSide, read_side

Pair = tuple[RunModel, RunModel]
_KINDS = {"audit": "an audit", "study": "a study"}


def compare_folders(first: Path, second: Path) -> tuple[RunComparison, tuple[RunAnswer, ...]]:
    """Compare two finished runs, or two finished audits.

    Args:
        first: The folder that counts as before.
        second: The folder that is compared with it.

    Returns:
        What differs, and what the models that both have said to the prompts that both have.

    Raises:
        DataError: If a folder is not finished, one is a study and the other an audit, or no model
            of theirs can be compared.
    """
    sides = read_side(first), read_side(second)
    if sides[0].kind != sides[1].kind:
        raise DataError(
            f"{first} holds {_KINDS[sides[0].kind]}, {second} {_KINDS[sides[1].kind]}; compare two "
            "of one kind"
        )
    names = [name for name in sides[0].models if name in sides[1].models]
    pairs = {name: _pairs(sides[0].models[name], sides[1].models[name]) for name in names}
    compared = {name: found for name, found in pairs.items() if _same_judge(found)}
    if not compared:
        raise DataError(
            f"{first} and {second} have no model of one name under one judge: "
            f"{_described(sides[0])} against {_described(sides[1])}"
        )
    rows = [row for name, found in compared.items() for row in _model_rows(name, found, sides[0])]
    if not rows:
        raise DataError(f"{first} and {second} share no concept and no question; nothing compares")
    result = RunComparison(
        kind=sides[0].kind,
        names={"first": sides[0].name, "second": sides[1].name},
        judge=sides[0].judge,
        rows=tuple(rows),
        settings=_settings(*sides),
        only=tuple(sorted(set(sides[0].models) ^ set(sides[1].models))),
        notes=_notes(sides, pairs, compared),
    )
    return result, tuple(row for name, found in compared.items() for row in _said(name, found[0]))


def write_comparison(
    found: RunComparison, answers: Sequence[RunAnswer], out: Path
) -> tuple[Path, Path]:
    """Write the page to `out` and its numbers beside it as JSON; return both paths."""
    from spillover.report.run_comparison_page import render_comparison

    numbers = out.with_suffix(".json")
    write_text(out, render_comparison(found, answers))
    write_json(numbers, found.to_dict())
    return out, numbers


def _pairs(first: Sequence[RunModel], second: Sequence[RunModel]) -> list[Pair]:
    """Match seeds; where none is the same, take both in their order."""
    by_seed = {model.seed: model for model in second}
    shared = [(model, by_seed[model.seed]) for model in first if model.seed in by_seed]
    return shared or list(zip(first, second, strict=False))


def _same_judge(pairs: Sequence[Pair]) -> bool:
    judges = {row.verdict.judge for pair in pairs for model in pair for row in model.said}
    return len(judges) == 1


def _described(side: RunSide) -> str:
    return f"{', '.join(side.models)} by {side.judge}"


def _model_rows(name: str, pairs: Sequence[Pair], side: RunSide) -> list[RunDifference]:
    """Return the differences of one model: refusals, over-refusal, capability."""
    rows = []
    for metric, wanted in (("refusal_rate", False), ("over_refusal", True)):
        asked = [tuple(_of(model, benign=wanted) for model in pair) for pair in pairs]
        by_seed = [
            compare_runs(
                *both,
                seed=number,
                metric=metric,
                deflection_is_refusal=side.deflection_is_refusal,
            )
            for number, both in enumerate(asked)
            if _concepts(both[0]) & _concepts(both[1])
        ]
        rows += _corrected([_difference(name, changes) for changes in _by_concept(by_seed)], metric)
    return [*rows, *_capability(name, pairs)]


def _concepts(rows: Sequence[Judged]) -> set[str]:
    return {row.verdict.concept for row in rows}


def _of(model: RunModel, *, benign: bool) -> list[Judged]:
    return [row for row in model.said if is_benign(row.verdict.concept) == benign]


def _by_concept(by_seed: Sequence[Sequence[RunChange]]) -> list[list[RunChange]]:
    concepts = dict.fromkeys(row.comparison.concept for rows in by_seed for row in rows)
    return [
        [row for rows in by_seed for row in rows if row.comparison.concept == concept]
        for concept in concepts
    ]


def _difference(name: str, changes: Sequence[RunChange], *, unit: str = "prompts") -> RunDifference:
    """Sum up the seeds of one model on one concept."""
    row = _summed([change.comparison for change in changes])
    return RunDifference(
        model=name,
        metric=row.metric,
        concept=row.concept,
        first=_mean([change.first for change in changes]),
        second=_mean([change.second for change in changes]),
        delta=row.delta,
        ci_low=row.ci_low,
        ci_high=row.ci_high,
        p=row.p,
        p_holm=row.p,
        n=row.n,
        unit=unit if len(changes) == 1 else "seeds",
        is_paired=all(change.is_paired for change in changes),
        n_left_out=max(change.n_left_out for change in changes),
    )


def _summed(rows: Sequence[Comparison]) -> Comparison:
    return rows[0] if len(rows) == 1 else compare_seeds(rows)[0]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _corrected(rows: list[RunDifference], metric: str) -> list[RunDifference]:
    if metric != "refusal_rate":
        return rows
    corrected = iter(holm([row.p for row in rows if row.p is not None]))
    return [replace(row, p_holm=None if row.p is None else next(corrected)) for row in rows]


def _capability(name: str, pairs: Sequence[Pair]) -> list[RunDifference]:
    """Compare the choices at the questions, where both were asked the same."""
    changes = []
    for number, (one, other) in enumerate(pairs):
        asked = [[(a.id, a.subject) for a in model.answers] for model in (one, other)]
        if not asked[0] or asked[0] != asked[1]:
            continue
        row = compare_capability(
            one.answers, other.answers, before_name="first", after_name="second", seed=number
        )
        first, second = (
            sum(a.is_correct for a in m.answers) / len(m.answers) for m in (one, other)
        )
        changes.append(
            RunChange(comparison=row, is_paired=True, first=first, second=second, n_left_out=0)
        )
    return [_difference(name, changes, unit="questions")] if changes else []


def _settings(first: RunSide, second: RunSide) -> tuple[tuple[str, str, str], ...]:
    keys = list(dict.fromkeys([*first.settings, *second.settings]))
    both = [(key, first.settings.get(key, ""), second.settings.get(key, "")) for key in keys]
    return tuple(row for row in both if row[1] != row[2])


def _notes(
    sides: tuple[RunSide, RunSide], pairs: dict[str, list[Pair]], compared: dict[str, list[Pair]]
) -> tuple[str, ...]:
    notes = [
        f"{name} was judged by different judges and is left out."
        for name in pairs
        if name not in compared
    ]
    seeds = [[(a.seed, b.seed) for a, b in found] for found in compared.values()]
    if any(a != b for found in seeds for a, b in found):
        notes.append("The runs share no seed: what differs may be the seeds' doing.")
    elif all(len(found) == 1 for found in seeds):
        notes.append(
            "One seed of each: the intervals are over prompts, and do not know how much another "
            "training run would differ."
        )
    if sides[0].deflection_is_refusal != sides[1].deflection_is_refusal:
        notes.append("Deflections are counted as in the first run, for both.")
    return tuple(notes)


def _said(name: str, pair: Pair) -> list[RunAnswer]:
    """Put both answers to each prompt of one model side by side, of its first seed."""
    after = {(row.completion.concept, row.completion.prompt): row for row in pair[1].said}
    rows = []
    for row in sorted(pair[0].said, key=lambda said: is_benign(said.completion.concept)):
        other = after.get((row.completion.concept, row.completion.prompt))
        if other is None:
            continue
        rows.append(
            RunAnswer(
                model=name,
                id=row.completion.id,
                concept=row.completion.concept,
                prompt=row.completion.prompt,
                first=row.completion.response,
                second=other.completion.response,
                first_label=row.verdict.label,
                second_label=other.verdict.label,
                change=row_change(row.verdict.label, other.verdict.label),
            )
        )
    return rows
