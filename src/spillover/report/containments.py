"""Turns what several containments kept and cost into one table, a front, and what to choose.

All were made of the same interventions; each row of the input is one model of one seed. With
several seeds the seed is the unit. Knows no files, and nothing of how a method works.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spillover.records import Record
from spillover.report.pooling import Estimate, pooled_triple
from spillover.stats.pareto import pareto_front

KEPT_AT_LEAST = 0.9
"Share of the plain unlearning's effect on the target from which it counts as kept."
OVER_REFUSAL_AT_MOST = 0.05
CAPABILITY_LOSS_AT_MOST = 0.02


@dataclass(frozen=True, kw_only=True)
class ContainmentRow(Record):
    """One contained model of one seed, with 95% intervals over prompts."""

    name: str
    "Of the containment; empty for the study's main one."
    method: str
    target_concept: str
    model: str
    seed: int
    plain_effect: float | None
    "Fall of the target's refusal rate without containment."
    effect: float | None
    "The same with it."
    effect_low: float | None
    effect_high: float | None
    recovery: float | None
    recovery_low: float | None
    recovery_high: float | None
    gain: float | None
    "Recovery less that of the main containment on the same prompts; None for that one."
    gain_low: float | None
    gain_high: float | None
    over_refusal: float | None
    "Rise of the refusal rate on benign prompts."
    over_refusal_low: float | None
    over_refusal_high: float | None
    capability_loss: float | None
    "Fall of the accuracy."
    capability_loss_low: float | None
    capability_loss_high: float | None
    retain_seen: int
    "Retain examples that training was shown, repetitions counted."


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What making one model took."""

    seconds: float | None
    "Wall time, with that of the unlearned model where it begins there; with other work beside it."
    peak_bytes: int | None
    "Most memory held; None where it was not measured."


@dataclass(frozen=True, kw_only=True)
class ContainmentResult:
    """One containment of one target, over seeds."""

    number: int
    "From 1, within the target; what the figure shows."
    name: str
    method: str
    target: str
    n_seeds: int
    kept: float | None
    "Effect on the target as a share of the plain unlearning's, of the means."
    effect: Estimate
    recovery: Estimate
    gain: Estimate
    over_refusal: Estimate
    capability_loss: Estimate
    retain_seen: int
    seconds: float | None
    peak_gib: float | None
    is_on_front: bool

    @property
    def title(self) -> str:
        """What the table calls it."""
        return self.name or "contain"


Metric = str
_METRICS = ("effect", "recovery", "gain", "over_refusal", "capability_loss")
_OBJECTIVES = {"effect": True, "recovery": True, "over_refusal": False, "capability_loss": False}
"Metric -> whether more is better; what the front is of."


def containment_results(
    rows: Sequence[ContainmentRow], costs: dict[tuple[str, int], Cost]
) -> tuple[ContainmentResult, ...]:
    """Return one result a target and containment, in order of appearance, fronts marked.

    Args:
        rows: Of all containments, targets and seeds.
        costs: By model and seed.
    """
    groups: dict[tuple[str, str], list[ContainmentRow]] = {}
    for row in rows:
        groups.setdefault((row.target_concept, row.name), []).append(row)
    by_target: dict[str, list[ContainmentResult]] = {}
    for (target, _), group in groups.items():
        found = by_target.setdefault(target, [])
        found.append(_result(group, costs, number=len(found) + 1))
    return tuple(result for found in by_target.values() for result in _with_front(found))


def _result(
    rows: Sequence[ContainmentRow], costs: dict[tuple[str, int], Cost], *, number: int
) -> ContainmentResult:
    found = {metric: _estimate(rows, metric) for metric in _METRICS}
    plain = _mean([row.plain_effect for row in rows])
    effect = found["effect"].value
    own = [costs[row.model, row.seed] for row in rows if (row.model, row.seed) in costs]
    peaks = [cost.peak_bytes for cost in own if cost.peak_bytes is not None]
    return ContainmentResult(
        number=number,
        name=rows[0].name,
        method=rows[0].method,
        target=rows[0].target_concept,
        n_seeds=len(rows),
        kept=effect / plain if effect is not None and plain else None,
        retain_seen=rows[0].retain_seen,
        seconds=_mean([cost.seconds for cost in own]),
        peak_gib=max(peaks) / 2**30 if peaks else None,
        is_on_front=False,
        **found,
    )


def _estimate(rows: Sequence[ContainmentRow], metric: Metric) -> Estimate:
    triples = [
        (getattr(row, metric), getattr(row, f"{metric}_low"), getattr(row, f"{metric}_high"))
        for row in rows
    ]
    bounded = metric not in ("recovery", "gain")
    value, low, high = pooled_triple(
        triples,
        lowest=-1.0 if bounded else float("-inf"),
        highest=float("inf") if metric == "gain" else 1.0,
    )
    return Estimate(value=value, low=low, high=high, n_seeds=len(rows))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _with_front(found: Sequence[ContainmentResult]) -> list[ContainmentResult]:
    """Mark those that no other one beats in the means; what nobody was measured on is left out."""
    columns = {
        metric: [getattr(result, metric).value for result in found] for metric in _OBJECTIVES
    }
    measured = [m for m, values in columns.items() if any(v is not None for v in values)]
    if not measured:
        return list(found)
    values = np.array([columns[metric] for metric in measured], dtype=np.float64).T
    front = pareto_front(values, maximise=[_OBJECTIVES[metric] for metric in measured])
    return [replace(result, is_on_front=place in front) for place, result in enumerate(found)]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which containment to take for one wish."""

    wish: str
    target: str
    result: ContainmentResult | None
    "None where none fulfils the wish's condition."
    rivals: tuple[str, ...]
    "Whose intervals overlap with its own, so that they may be as good."


Value = Callable[[ContainmentResult], Estimate]


def choices(results: Sequence[ContainmentResult]) -> tuple[Choice, ...]:
    """Return what to choose for each wish and target, by the means, with those that may be as good.

    A rival is any other one that fulfils the condition and whose interval overlaps with the best
    one's; without intervals every other one is a rival.
    """
    found = []
    for target in dict.fromkeys(result.target for result in results):
        own = [result for result in results if result.target == target]
        keep = [r for r in own if r.kept is not None and r.kept >= KEPT_AT_LEAST]
        worth = [r for r in keep if _at_least(r.recovery, 0.6)]
        harmless = [
            r
            for r in keep
            if _at_most(r.over_refusal, OVER_REFUSAL_AT_MOST)
            and (
                r.capability_loss.value is None
                or _at_most(r.capability_loss, CAPABILITY_LOSS_AT_MOST)
            )
        ]
        wishes: list[tuple[str, list[ContainmentResult], Value, bool]] = [
            ("to spare the other concepts most, with the target's unlearning kept",
             keep, lambda r: r.recovery, True),
            ("the same without refusing more benign prompts or losing capability",
             harmless, lambda r: r.recovery, True),
            ("to unlearn the target most surely", own, lambda r: r.effect, True),
            ("to pay least time, with at least 0.6 recovered", worth, _seconds, False),
        ]  # fmt: skip
        found += [_choice(wish, target, among, value, more) for wish, among, value, more in wishes]
    return tuple(found)


def _seconds(result: ContainmentResult) -> Estimate:
    return Estimate(value=result.seconds, low=result.seconds, high=result.seconds)


def _at_least(estimate: Estimate, least: float) -> bool:
    return estimate.value is not None and estimate.value >= least


def _at_most(estimate: Estimate, most: float) -> bool:
    return estimate.value is not None and estimate.value <= most


def _choice(
    wish: str, target: str, among: Sequence[ContainmentResult], value: Value, more: bool
) -> Choice:
    known = [(result, value(result)) for result in among if value(result).value is not None]
    if not known:
        return Choice(wish=wish, target=target, result=None, rivals=())
    sign = 1 if more else -1
    best, own = max(known, key=lambda pair: sign * (pair[1].value or 0.0))
    rivals = [r.title for r, other in known if r is not best and _overlap(own, other)]
    return Choice(wish=wish, target=target, result=best, rivals=tuple(rivals))


def _overlap(one: Estimate, other: Estimate) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return True
    return one.low <= other.high and other.low <= one.high
