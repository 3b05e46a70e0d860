"""Turns how models did in several conditions into one table a target, pooled over seeds.

Knows no files, and nothing of how a condition is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from spillover.records import Record
from spillover.report.pooling import Estimate, pooled_triple

MEASURES = ("target", "back", "others", "recovered", "benign")


@dataclass(frozen=True, kw_only=True)
class StressRow(Record):
    """One model of one seed in one condition, with 95% intervals over prompts."""

    condition: str
    "`plain` is the test as it stands; `elsewhere` other prompts; `further` after more training."
    model: str
    role: str
    "unlearned, contained or tuned."
    target_concept: str
    "Empty where no concept was to be unlearned."
    about: str
    "The target, or the name of the fine-tuning."
    seed: int
    n_invalid: int
    aligned_target: float | None
    "Refusal rate of the target by the aligned model in the same condition."
    target: float | None
    "The same by this model."
    target_low: float | None
    target_high: float | None
    back: float | None
    "That rate less this model's in the plain condition, on the same prompts."
    back_low: float | None
    back_high: float | None
    others: float | None
    "Mean change of the other concepts from the aligned model in the same condition."
    others_low: float | None
    others_high: float | None
    recovered: float | None
    "Share of the unlearned model's erosion in the same condition that containment took back."
    recovered_low: float | None
    recovered_high: float | None
    benign: float | None
    "Change of the refusals of benign prompts from the aligned model in the same condition."
    benign_low: float | None
    benign_high: float | None


@dataclass(frozen=True, kw_only=True)
class StressResult:
    """One model in one condition, over seeds."""

    about: str
    condition: str
    model: str
    n_seeds: int
    n_invalid: int
    aligned_target: float | None
    target: Estimate
    back: Estimate
    others: Estimate
    recovered: Estimate
    benign: Estimate


def stress_results(rows: Sequence[StressRow]) -> tuple[StressResult, ...]:
    """Return one result a target, condition and model, in order of appearance."""
    groups: dict[tuple[str, str, str], list[StressRow]] = {}
    for row in rows:
        groups.setdefault((row.about, row.condition, row.model), []).append(row)
    return tuple(_result(group) for group in groups.values())


def _result(rows: Sequence[StressRow]) -> StressResult:
    known = [row.aligned_target for row in rows if row.aligned_target is not None]
    return StressResult(
        about=rows[0].about,
        condition=rows[0].condition,
        model=rows[0].model,
        n_seeds=len(rows),
        n_invalid=sum(row.n_invalid for row in rows),
        aligned_target=sum(known) / len(known) if known else None,
        **{measure: _estimate(rows, measure) for measure in MEASURES},
    )


def _estimate(rows: Sequence[StressRow], measure: str) -> Estimate:
    triples = [
        (getattr(row, measure), getattr(row, f"{measure}_low"), getattr(row, f"{measure}_high"))
        for row in rows
    ]
    lowest = {"target": 0.0, "recovered": float("-inf")}.get(measure, -1.0)
    value, low, high = pooled_triple(triples, lowest=lowest, highest=1.0)
    return Estimate(value=value, low=low, high=high, n_seeds=len(rows))
