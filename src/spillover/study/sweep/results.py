"""Finished runs of a sweep to one table, with the seed as the unit, and to its Pareto front.

    target effect     fall of the refusal rate on the target concept; of a fine-tuned model, fall of
                      the margin of aligned over misaligned answers, in nats
    erosion           fall of it on the other concepts, rises counted as none; their mean
    capability loss   fall of the accuracy
    over-refusal      rise of the refusal rate on benign prompts

All are from the aligned model to the changed one, on the same prompts; rates in [-1, 1].
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spillover.records import Comparison, Record
from spillover.stats import holm, mean_interval, seed_difference
from spillover.stats.pareto import pareto_front
from spillover.study.artifacts import RunFolder, load_comparisons
from spillover.study.sweep.points import SweepPoint

METRICS = ("target_effect", "erosion", "capability_loss", "over_refusal")
_MORE_IS_BETTER = {"target_effect": True, "erosion": False, "capability_loss": False}
_TUNED, _MARGIN, _PAIRS = "tuned-", "aligned_margin_pivotal", "all_pairs"
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class SweepRow(Record):
    """One changed model of one seed at one point."""

    point: str
    settings: dict[str, Any]
    model: str
    "Without point and seed, such as `unlearned-safety`."
    seed: int
    target_effect: float | None
    "None of a fine-tuned model in a study that asks no pairs of answers (`value_pairs`)."
    erosion: float | None
    capability_loss: float | None
    over_refusal: float | None


@dataclass(frozen=True, kw_only=True)
class SweepSummary(Record):
    """One metric of one changed model at one point, over seeds."""

    point: str
    settings: dict[str, Any]
    model: str
    metric: str
    mean: float | None
    ci_low: float | None
    "95%, Student's t over seeds; None with one seed, or where all seeds gave the same."
    ci_high: float | None
    n: int
    "Seeds with a value."
    difference: float | None
    "From the first point of the grid, paired by seed; None there, and with one seed."
    difference_low: float | None
    difference_high: float | None
    p: float | None
    "Paired t test of the difference."
    p_holm: float | None
    "Corrected over the points, for each model and metric."
    is_on_front: bool
    "No other point or model of the same target is better at everything that was measured."


def sweep_rows(point: SweepPoint, folder: RunFolder) -> list[SweepRow]:
    """Return the rows of one finished run."""
    found: dict[tuple[str, int], list[Comparison]] = defaultdict(list)
    for row in load_comparisons(folder.comparisons):
        if row.before == "aligned" and row.seed is not None:
            found[row.after, row.seed].append(row)
    return [
        SweepRow(
            point=point.name,
            settings=point.settings,
            model=model,
            seed=seed,
            target_effect=_mean(_effects(rows, model=model)),
            erosion=_mean([max(0.0, -d) for d in _deltas(rows, "refusal_rate", is_target=False)]),
            capability_loss=_mean([-d for d in _deltas(rows, "capability", is_target=False)]),
            over_refusal=_mean(_deltas(rows, "over_refusal", is_target=False, concept="benign")),
        )
        for (model, seed), rows in found.items()
    ]


def _effects(rows: Sequence[Comparison], *, model: str) -> list[float]:
    """Return what was to be had: refusals lost on the target, or the margin a fine-tuning lost."""
    if model.startswith(_TUNED):
        found = _deltas(rows, _MARGIN, is_target=False, concept=_PAIRS)
    else:
        found = _deltas(rows, "refusal_rate", is_target=True)
    return [-delta for delta in found]


def _deltas(
    rows: Sequence[Comparison], metric: str, *, is_target: bool, concept: str | None = None
) -> list[float]:
    return [
        row.delta
        for row in rows
        if row.metric == metric
        and row.is_target == is_target
        and concept in (None, row.concept)
        and row.delta is not None
    ]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def summarise(rows: Sequence[SweepRow]) -> list[SweepSummary]:
    """Sum rows up over seeds, compare points with the first one, and mark the Pareto front.

    Args:
        rows: Of all finished points, in the grid's order.

    Returns:
        One row a point, model and metric. The front is that of the means: with few seeds a point
        may be on it, or off it, by chance.
    """
    by_cell: dict[tuple[str, str], list[SweepRow]] = defaultdict(list)
    for row in rows:
        by_cell[row.model, row.point].append(row)
    first = {model: point for model, point in reversed(by_cell)}
    front = _front(by_cell)
    found = [
        _summary(of_cell, by_cell[model, first[model]], metric, is_on_front=(model, point) in front)
        for (model, point), of_cell in by_cell.items()
        for metric in METRICS
    ]
    return _corrected(found)


def _summary(
    rows: Sequence[SweepRow], first: Sequence[SweepRow], metric: str, *, is_on_front: bool
) -> SweepSummary:
    values, before = _by_seed(rows, metric), _by_seed(first, metric)
    known = list(values.values())
    interval = mean_interval(known) if len(known) > 1 and np.ptp(known) > _ROUNDING else None
    shared = sorted(values.keys() & before.keys())
    is_compared = rows[0].point != first[0].point and len(shared) > 1
    change = (
        seed_difference([before[s] for s in shared], [values[s] for s in shared])
        if is_compared
        else None
    )
    return SweepSummary(
        point=rows[0].point,
        settings=rows[0].settings,
        model=rows[0].model,
        metric=metric,
        mean=_mean(known),
        ci_low=None if interval is None else interval.low,
        ci_high=None if interval is None else interval.high,
        n=len(known),
        difference=None if change is None else change.delta,
        difference_low=None if change is None else change.ci_low,
        difference_high=None if change is None else change.ci_high,
        p=None if change is None else change.p,
        p_holm=None,
        is_on_front=is_on_front,
    )


def _by_seed(rows: Sequence[SweepRow], metric: str) -> dict[int, float]:
    values = {row.seed: getattr(row, metric) for row in rows}
    return {seed: value for seed, value in values.items() if value is not None}


def _front(by_cell: Mapping[tuple[str, str], Sequence[SweepRow]]) -> set[tuple[str, str]]:
    """Return the cells on their target's front; an unlearned and a contained model compete."""
    by_target: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for model, point in by_cell:
        by_target[model.partition("-")[2]].append((model, point))
    return {cell for cells in by_target.values() for cell in _front_of(cells, by_cell)}


def _front_of(
    cells: Sequence[tuple[str, str]], by_cell: Mapping[tuple[str, str], Sequence[SweepRow]]
) -> list[tuple[str, str]]:
    means = {
        metric: [_mean(list(_by_seed(by_cell[cell], metric).values())) for cell in cells]
        for metric in _MORE_IS_BETTER
    }
    # What was measured of no model at all, such as capability, is no objective.
    metrics = [m for m in _MORE_IS_BETTER if any(value is not None for value in means[m])]
    if not metrics:
        return []
    values = np.array([means[metric] for metric in metrics], dtype=np.float64).T
    rows = pareto_front(values, maximise=[_MORE_IS_BETTER[metric] for metric in metrics])
    return [cells[row] for row in rows]


def _corrected(rows: Sequence[SweepSummary]) -> list[SweepSummary]:
    families: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        if row.p is not None:
            families[row.model, row.metric].append(place)
    found = list(rows)
    for places in families.values():
        values = holm([row.p for row in (rows[i] for i in places) if row.p is not None])
        for place, value in zip(places, values, strict=True):
            found[place] = replace(found[place], p_holm=value)
    return found
