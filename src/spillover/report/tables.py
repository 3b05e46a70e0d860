"""Turns scores, comparisons and recoveries into the rows of the report's three tables.

Numbers stay numbers; how they are written is the page's affair.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from spillover.data.suites.triggers import TRIGGERED
from spillover.records import Comparison
from spillover.report.chains import ALIGNED, UNKNOWN, is_further_containment, model_names
from spillover.report.changes import (
    CAPABILITY_THRESHOLD,
    OVER_REFUSAL_RISE,
    classify,
)
from spillover.report.inputs import ReportInputs
from spillover.report.pooling import (
    Estimate,
    ScoreKey,
    estimates,
    pooled_comparisons,
    pooled_recoveries,
)
from spillover.report.text import concept_title, limit, words

_TITLES = {"over_refusal": "Over-refusal", "capability": "Capability"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table of rates."""

    metric: str
    concept: str
    group: str
    "Heading that neighbouring columns share."
    title: str


@dataclass(frozen=True, kw_only=True)
class RateCell:
    """One model's number in one column."""

    column: Column
    estimate: Estimate
    is_target: bool
    "The model was trained to stop refusing this concept."
    flagged: bool
    "Eroded against the aligned model: the EMA flag."


@dataclass(frozen=True, kw_only=True)
class RateRow:
    """One model."""

    model: str
    cells: tuple[RateCell, ...]


@dataclass(frozen=True, kw_only=True)
class RateTable:
    """Models down, concepts and the other measures across."""

    columns: tuple[Column, ...]
    rows: tuple[RateRow, ...]
    n_seeds: int


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """One change from before to after."""

    concept: str
    metric: str
    before_value: float | None
    after_value: float | None
    delta: float | None
    low: float | None
    high: float | None
    p_holm: float | None
    n: int
    flagged: bool
    is_target: bool
    says: str
    "What the interval allows one to say, in a few words."
    n_invalid: int
    "Prompts left out because a verdict was invalid."
    worst: float | None
    "The change if every invalid verdict had been against it, or for it."
    best: float | None


@dataclass(frozen=True, kw_only=True)
class ComparisonTable:
    """All changes between one pair of models."""

    before: str
    after: str
    unit: str
    "What n counts: prompts or seeds."
    rows: tuple[ComparisonRow, ...]


@dataclass(frozen=True, kw_only=True)
class RecoveryRow:
    """How much of the erosion one containment took back."""

    target_concept: str
    contained: str
    erosion_before: float
    erosion_after: float
    value: float | None
    low: float | None
    high: float | None
    n_concepts: int
    n_invalid: int
    "Prompts left out because a verdict was invalid."
    worst: float | None
    "The recovery if every invalid verdict had been against it, or for it."
    best: float | None


def rate_table(inputs: ReportInputs) -> RateTable:
    """Return refusal rates, over-refusal and capability of every model."""
    found = estimates(inputs.scores)
    flagged = {
        (row.after, row.metric, row.concept)
        for row in pooled_comparisons(inputs.comparisons, ema_threshold=inputs.ema_threshold)
        if row.flagged and row.before == ALIGNED
    }
    columns = _columns(inputs)
    rows = tuple(
        RateRow(
            model=model,
            cells=tuple(
                RateCell(
                    column=column,
                    estimate=found.get((model, column.metric, column.concept), UNKNOWN),
                    is_target=_is_target(model, column.metric, column.concept),
                    flagged=(model, column.metric, column.concept) in flagged
                    and not _is_target(model, column.metric, column.concept),
                )
                for column in columns
            ),
        )
        for model in inputs.models
    )
    return RateTable(
        columns=columns,
        rows=rows,
        n_seeds=max((estimate.n_seeds for estimate in found.values()), default=1),
    )


def _is_target(model: str, metric: str, concept: str) -> bool:
    is_further = is_further_containment(model) and model.partition("-")[2] == concept
    return metric == "refusal_rate" and (model in model_names(concept) or is_further)


def _columns(inputs: ReportInputs) -> tuple[Column, ...]:
    refusals = [("refusal_rate", concept) for concept in inputs.concepts]
    measured = dict.fromkeys((s.metric, s.concept) for s in inputs.scores)
    others = [pair for pair in measured if pair[0] != "refusal_rate" and _is_shown(*pair)]
    # Over-refusal before capability, whatever the order of the scores.
    others.sort(key=lambda pair: pair[0] == "capability")
    return tuple(
        Column(
            metric=metric,
            concept=concept,
            group=_TITLES.get(
                metric, "Refusal rate" if metric == "refusal_rate" else words(metric)
            ),
            title=concept_title(concept),
        )
        for metric, concept in [*refusals, *others]
    )


def _is_shown(metric: str, concept: str) -> bool:
    """Leave the parts of pairs of answers out; all of them together are shown."""
    return not metric.startswith("aligned_") or concept.removesuffix(TRIGGERED) == "all_pairs"


def comparison_tables(inputs: ReportInputs) -> tuple[ComparisonTable, ...]:
    """Return one table per pair of models, concepts in the study's order."""
    pairs: dict[tuple[str, str], list[Comparison]] = {}
    for row in pooled_comparisons(inputs.comparisons, ema_threshold=inputs.ema_threshold):
        pairs.setdefault((row.before, row.after), []).append(row)
    found = estimates(inputs.scores)
    return tuple(
        ComparisonTable(
            before=before,
            after=after,
            unit="seeds" if rows[0].seed is None else "prompts",
            rows=tuple(
                _comparison_row(row, found, inputs.ema_threshold)
                for row in _in_order(rows, inputs.concepts)
            ),
        )
        for (before, after), rows in pairs.items()
    )


def _in_order(rows: Sequence[Comparison], concepts: Sequence[str]) -> list[Comparison]:
    metrics = ("refusal_rate", "over_refusal", "capability")

    def place(row: Comparison) -> tuple[int, int]:
        metric = metrics.index(row.metric) if row.metric in metrics else len(metrics)
        concept = concepts.index(row.concept) if row.concept in concepts else len(concepts)
        return metric, concept

    return sorted(rows, key=place)


def _comparison_row(
    row: Comparison, found: dict[ScoreKey, Estimate], ema_threshold: float
) -> ComparisonRow:
    is_target = row.is_target or _is_target(row.after, row.metric, row.concept)
    return ComparisonRow(
        concept=row.concept,
        metric=row.metric,
        before_value=found.get((row.before, row.metric, row.concept), UNKNOWN).value,
        after_value=found.get((row.after, row.metric, row.concept), UNKNOWN).value,
        delta=row.delta,
        low=row.ci_low,
        high=row.ci_high,
        p_holm=row.p_holm,
        n=row.n,
        flagged=row.flagged and not is_target,
        is_target=is_target,
        says="target of the unlearning" if is_target else says(row, ema_threshold=ema_threshold),
        n_invalid=row.n_invalid,
        worst=row.worst,
        best=row.best,
    )


def says(row: Comparison, *, ema_threshold: float) -> str:
    """Return what a row's interval allows one to say, in a few words."""
    if row.metric == "over_refusal":
        return _says_over_refusal(row)
    if row.metric not in ("refusal_rate", "capability"):
        return {"eroded": "fell", "rose": "rose", "unknown": "not measured"}.get(
            classify(row, threshold=ema_threshold), "undecided"
        )
    threshold = CAPABILITY_THRESHOLD if row.metric == "capability" else ema_threshold
    return {
        "flagged": "eroded (EMA)",
        "eroded": "fell" if row.metric == "capability" else "eroded, below the flag",
        "undecided": "undecided",
        "held": f"held: no loss of {limit(threshold)}",
        "rose": "rose",
        "unknown": "not measured",
    }[classify(row, threshold=threshold)]


def _says_over_refusal(row: Comparison) -> str:
    """For over-refusal a rise is the harm."""
    if row.ci_low is None or row.ci_high is None:
        return "not measured"
    if row.ci_low > 0:
        return "rose"
    if row.ci_high < 0:
        return "fell"
    return (
        f"held: no rise of {OVER_REFUSAL_RISE}" if row.ci_high < OVER_REFUSAL_RISE else "undecided"
    )


def recovery_table(inputs: ReportInputs) -> tuple[RecoveryRow, ...]:
    """Return one row per contained model."""
    return tuple(
        RecoveryRow(
            target_concept=row.target_concept,
            contained=row.contained,
            erosion_before=row.erosion_before,
            erosion_after=row.erosion_after,
            value=row.value,
            low=row.ci_low,
            high=row.ci_high,
            n_concepts=row.n_concepts,
            n_invalid=row.n_invalid,
            worst=row.worst,
            best=row.best,
        )
        for row in pooled_recoveries(inputs.recoveries)
    )
