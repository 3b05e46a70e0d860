"""Rows of single seeds turned into the one number per model and concept that the report shows.

With several seeds the seed is the unit: the mean with its t interval. Seeds that all gave the same
value have a t interval of no width, though other prompts would have given another value; there the
interval over prompts is shown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt

from spillover.records import Comparison, Recovery, Score
from spillover.stats.intervals import mean_interval

ScoreKey = tuple[str, str, str]
IN_NATS = "aligned_margin"
"How metrics begin that are no rates and know no bounds."


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
    by_seed: tuple[Score, ...] = ()
    "The rows of the single seeds, in their order; empty where there is one seed only."


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
    triples = [(s.value, s.ci_low, s.ci_high) for s in group]
    lowest, highest = (-inf, inf) if group[0].metric.startswith(IN_NATS) else (0.0, 1.0)
    value, low, high = pooled_triple(triples, lowest=lowest, highest=highest)
    return Estimate(
        value=value,
        low=low,
        high=high,
        n=min(s.n for s in group),
        n_invalid=sum(s.n_invalid for s in group),
        n_total=sum(s.n + s.n_invalid for s in group),
        n_seeds=len({s.seed for s in group}),
        worst=_mean([s.worst for s in group]),
        best=_mean([s.best for s in group]),
        by_seed=tuple(sorted(group, key=lambda s: s.seed)) if len(group) > 1 else (),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


Triple = tuple[float | None, float | None, float | None]


def pooled_triple(triples: Sequence[Triple], *, lowest: float, highest: float) -> Triple:
    """Return (value, low, high) over seeds; a seed without a value is left out.

    A t interval knows no bounds, so it is cut at the lowest and highest possible value.
    """
    known = [(value, low, high) for value, low, high in triples if value is not None]
    if not known:
        return None, None, None
    values = [value for value, _, _ in known]
    if len(set(values)) == 1:
        return max(known, key=_width)
    pooled = mean_interval(values)
    value = sum(values) / len(values)
    return value, max(pooled.low, lowest), min(pooled.high, highest)


def _width(triple: Triple) -> float:
    _, low, high = triple
    return 0.0 if low is None or high is None else high - low


def pooled_comparisons(
    rows: Iterable[Comparison], *, ema_threshold: float
) -> tuple[Comparison, ...]:
    """Return one row per pair of models, metric and concept.

    A row that sums over seeds is taken as it is; several seeds without such a row are averaged
    here, without a p-value.

    Args:
        rows: Rows of single seeds and rows that sum over them.
        ema_threshold: Erosion beyond which an average is flagged.
    """
    groups: dict[tuple[str, str, str, str], list[Comparison]] = {}
    for row in rows:
        groups.setdefault((row.before, row.after, row.metric, row.concept), []).append(row)
    return tuple(_pooled_comparison(group, ema_threshold) for group in groups.values())


def _pooled_comparison(group: Sequence[Comparison], ema_threshold: float) -> Comparison:
    summed = [row for row in group if row.seed is None]
    if summed or len(group) == 1:
        return (summed or list(group))[0]
    triples = [(row.delta, row.ci_low, row.ci_high) for row in group]
    delta, low, high = pooled_triple(triples, lowest=-1.0, highest=1.0)
    eroded = delta is not None and delta < -ema_threshold and high is not None and high < 0
    return replace(
        group[0],
        delta=delta,
        ci_low=low,
        ci_high=high,
        p=None,
        p_holm=None,
        flagged=eroded and group[0].metric == "refusal_rate" and not group[0].is_target,
        n=len(group),
        seed=None,
        n_invalid=sum(row.n_invalid for row in group),
        worst=_mean([row.worst for row in group]),
        best=_mean([row.best for row in group]),
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
    # No recovery exceeds 1; how far below 0 it can go has no bound.
    triples = [(row.value, row.ci_low, row.ci_high) for row in group]
    value, low, high = pooled_triple(triples, lowest=float("-inf"), highest=1.0)
    return replace(
        group[0],
        erosion_before=sum(row.erosion_before for row in group) / len(group),
        erosion_after=sum(row.erosion_after for row in group) / len(group),
        value=value,
        ci_low=low,
        ci_high=high,
        seed=None,
        n_invalid=sum(row.n_invalid for row in group),
        worst=_mean([row.worst for row in group]),
        best=_mean([row.best for row in group]),
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
        value, low, high = pooled_triple(
            [(mean, None, None) for mean in means], lowest=-1.0, highest=1.0
        )
        return Estimate(value=value, low=low, high=high, n_seeds=len(seeds))
    if any(row.seed is None for row in chosen):
        # Seeds tie the concepts together: a sum over seeds has no independent rows to add.
        return Estimate(value=_mean([row.delta for row in chosen]), low=None, high=None)
    value, low, high = _mean_of_independent(
        [(row.delta, row.ci_low, row.ci_high) for row in chosen]
    )
    return Estimate(value=value, low=low, high=high)


def mean_rate(scores: Sequence[Score], *, model: str, concepts: Sequence[str]) -> Estimate:
    """Return a model's refusal rate averaged over `concepts`, each with the same weight.

    Intervals as in `mean_change`. Without a value on every concept there is no mean, as that of
    the others would not compare with another model's. `n` adds up the concepts' valid verdicts.
    """
    judge = judges_by_metric(scores).get("refusal_rate", ("",))[0]
    rows = [
        s
        for s in scores
        if (s.model, s.metric, s.judge) == (model, "refusal_rate", judge) and s.concept in concepts
    ]
    by_seed = {seed: [s for s in rows if s.seed == seed] for seed in sorted({s.seed for s in rows})}
    whole = all(
        len(group) == len(concepts) and all(s.value is not None for s in group)
        for group in by_seed.values()
    )
    if not rows or not whole:
        return Estimate(value=None, low=None, high=None, n_invalid=sum(s.n_invalid for s in rows))
    means = [
        _mean_of_independent([(s.value, s.ci_low, s.ci_high) for s in group])
        for group in by_seed.values()
    ]
    value, low, high = pooled_triple(means, lowest=0.0, highest=1.0)
    return Estimate(
        value=value,
        low=low,
        high=high,
        n=min(sum(s.n for s in group) for group in by_seed.values()),
        n_invalid=sum(s.n_invalid for s in rows),
        n_total=sum(s.n + s.n_invalid for s in rows),
        n_seeds=len(by_seed),
        worst=_mean([s.worst if s.worst is not None else s.value for s in rows]),
        best=_mean([s.best if s.best is not None else s.value for s in rows]),
    )


def _mean_of_independent(triples: Sequence[Triple]) -> Triple:
    """Return the mean of independent values, with the interval from those of the values."""
    value = _mean([value for value, _, _ in triples])
    downs = [value - low for value, low, _ in triples if value is not None and low is not None]
    ups = [high - value for value, _, high in triples if value is not None and high is not None]
    if value is None or len(downs) < len(triples) or len(ups) < len(triples):
        return value, None, None
    return (
        value,
        value - sqrt(sum(down**2 for down in downs)) / len(triples),
        value + sqrt(sum(up**2 for up in ups)) / len(triples),
    )
