"""Rows of single seeds turned into the one number per model and concept that the report shows.

With several seeds the seed is the unit: the mean with its t interval. Seeds that all gave the same
value have a t interval of no width, though other prompts would have given another value; there the
interval over prompts is shown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import sqrt

from spillover.records import Comparison, Recovery, Score
from spillover.report.changes import EROSION_THRESHOLD
from spillover.stats.intervals import mean_interval

ScoreKey = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One number with its interval, over all seeds."""

    value: float | None
    low: float | None
    high: float | None
    n: int = 0
    "Valid verdicts or questions per seed (the fewest); prompts."
    n_invalid: int = 0
    "Invalid verdicts, all seeds together."
    n_total: int = 0
    "Valid and invalid verdicts, all seeds together."
    n_seeds: int = 1
    worst: float | None = None
    best: float | None = None
    "The value if every invalid verdict had been against, or for, the metric."


def judges_by_metric(scores: Iterable[Score]) -> dict[str, tuple[str, ...]]:
    """Return the judges of each metric in order of appearance; the report shows the first."""
    found: dict[str, tuple[str, ...]] = {}
    for score in scores:
        known = found.get(score.metric, ())
        if score.judge not in known:
            found[score.metric] = (*known, score.judge)
    return found


def estimates(scores: Sequence[Score]) -> dict[ScoreKey, Estimate]:
    """Return one estimate per (model, metric, concept), by each metric's first judge."""
    first = {metric: judges[0] for metric, judges in judges_by_metric(scores).items()}
    groups: dict[ScoreKey, list[Score]] = {}
    for score in scores:
        if score.judge == first[score.metric]:
            groups.setdefault((score.model, score.metric, score.concept), []).append(score)
    return {key: _estimate(group) for key, group in groups.items()}


def _estimate(group: Sequence[Score]) -> Estimate:
    value, low, high = _pooled([(s.value, s.ci_low, s.ci_high) for s in group])
    return Estimate(
        value=value,
        low=None if low is None else max(low, 0.0),
        high=None if high is None else min(high, 1.0),
        n=min(s.n for s in group),
        n_invalid=sum(s.n_invalid for s in group),
        n_total=sum(s.n + s.n_invalid for s in group),
        n_seeds=len({s.seed for s in group}),
        worst=_mean([s.worst for s in group]),
        best=_mean([s.best for s in group]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


Triple = tuple[float | None, float | None, float | None]


def _pooled(triples: Sequence[Triple]) -> Triple:
    """Return (value, low, high) over seeds; a seed without a value is left out."""
    known = [(value, low, high) for value, low, high in triples if value is not None]
    if not known:
        return None, None, None
    values = [value for value, _, _ in known]
    if len(set(values)) == 1:
        return known[0]
    pooled = mean_interval(values)
    return sum(values) / len(values), pooled.low, pooled.high


def pooled_comparisons(rows: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """Return one row per pair of models, metric and concept.

    A row that sums over seeds is taken as it is; several seeds without such a row are averaged
    here, without a p-value.
    """
    groups: dict[tuple[str, str, str, str], list[Comparison]] = {}
    for row in rows:
        groups.setdefault((row.before, row.after, row.metric, row.concept), []).append(row)
    return tuple(_pooled_comparison(group) for group in groups.values())


def _pooled_comparison(group: Sequence[Comparison]) -> Comparison:
    summed = [row for row in group if row.seed is None]
    if summed or len(group) == 1:
        return (summed or list(group))[0]
    delta, low, high = _pooled([(row.delta, row.ci_low, row.ci_high) for row in group])
    eroded = delta is not None and delta < -EROSION_THRESHOLD and high is not None and high < 0
    return replace(
        group[0],
        delta=delta,
        ci_low=low,
        ci_high=high,
        p=None,
        p_holm=None,
        flagged=eroded and group[0].metric == "refusal_rate",
        n=len(group),
        seed=None,
    )


def pooled_recoveries(rows: Iterable[Recovery]) -> tuple[Recovery, ...]:
    """Return one row per contained model, as `pooled_comparisons` does."""
    groups: dict[tuple[str, str], list[Recovery]] = {}
    for row in rows:
        groups.setdefault((row.target_concept, row.contained), []).append(row)
    return tuple(_pooled_recovery(group) for group in groups.values())


def _pooled_recovery(group: Sequence[Recovery]) -> Recovery:
    summed = [row for row in group if row.seed is None]
    if summed or len(group) == 1:
        return (summed or list(group))[0]
    value, low, high = _pooled([(row.value, row.ci_low, row.ci_high) for row in group])
    return replace(
        group[0],
        erosion_before=sum(row.erosion_before for row in group) / len(group),
        erosion_after=sum(row.erosion_after for row in group) / len(group),
        value=value,
        ci_low=low,
        # No recovery exceeds 1, which a t interval does not know.
        ci_high=None if high is None else min(high, 1.0),
        seed=None,
    )


def mean_change(
    rows: Iterable[Comparison], *, before: str, after: str, concepts: Sequence[str]
) -> Estimate:
    """Return the mean change of the refusal rate over `concepts`, with its interval.

    With several seeds, the t interval of the seeds' means. With one, the concepts' prompts are
    disjoint and their changes independent, so the variances recovered from the intervals add
    (MOVER, Zou and Donner 2008, https://doi.org/10.1002/sim.3095, equation for a sum):

        low = mean - sqrt(sum (delta - low)^2) / k,  high = mean + sqrt(sum (high - delta)^2) / k
    """
    chosen = [
        row
        for row in rows
        if (row.before, row.after, row.metric) == (before, after, "refusal_rate")
        and row.concept in concepts
        and row.delta is not None
    ]
    seeds = {row.seed for row in chosen if row.seed is not None}
    if len(seeds) > 1:
        means = [_mean([row.delta for row in chosen if row.seed == seed]) for seed in sorted(seeds)]
        value, low, high = _pooled([(mean, None, None) for mean in means])
        return Estimate(value=value, low=low, high=high, n_seeds=len(seeds))
    return _sum_of_independent(chosen)


def _sum_of_independent(rows: Sequence[Comparison]) -> Estimate:
    value = _mean([row.delta for row in rows])
    downs = [
        row.delta - row.ci_low for row in rows if row.delta is not None and row.ci_low is not None
    ]
    ups = [
        row.ci_high - row.delta for row in rows if row.delta is not None and row.ci_high is not None
    ]
    # Seeds tie the concepts together: a sum over seeds has no independent rows to add.
    independent = all(row.seed is not None for row in rows)
    if value is None or not independent or len(downs) < len(rows) or len(ups) < len(rows):
        return Estimate(value=value, low=None, high=None)
    return Estimate(
        value=value,
        low=value - sqrt(sum(down**2 for down in downs)) / len(rows),
        high=value + sqrt(sum(up**2 for up in ups)) / len(rows),
    )
