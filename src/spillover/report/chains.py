"""Finds, for each target concept, the models that tell its story and the numbers about them.

Model names are the study's: `base`, `aligned`, `unlearned-<concept>`, `contained-<concept>`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from spillover.records import Comparison, Recovery
from spillover.report.inputs import ReportInputs
from spillover.report.pooling import (
    Estimate,
    ScoreKey,
    estimates,
    judges_by_metric,
    mean_change,
    pooled_comparisons,
    pooled_recoveries,
)
from spillover.report.text import POOLED_BENIGN

ALIGNED = "aligned"
UNKNOWN = Estimate(value=None, low=None, high=None)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """One target concept: what was unlearned, what eroded, what came back."""

    target: str
    judge: str
    "Whose verdicts the rates are of; empty where there are none."
    threshold: float
    "Erosion beyond which a concept is flagged."
    others: tuple[str, ...]
    "The non-target concepts."
    aligned: str
    unlearned: str
    contained: str | None
    "None where the study contains nothing for this target."
    target_aligned: Estimate
    target_unlearned: Estimate
    target_contained: Estimate
    erosion: tuple[Comparison, ...]
    "aligned -> unlearned, refusal rate of the non-target concepts."
    erosion_left: tuple[Comparison, ...]
    "aligned -> contained, likewise; empty without containment."
    mean_erosion: Estimate
    mean_erosion_left: Estimate
    recovery: Recovery | None
    side_effects: tuple[Comparison, ...]
    "aligned -> unlearned or contained: capability, and over-refusal, of all benign sets if known."


def model_names(target: str) -> tuple[str, str]:
    """Return the names of the unlearned and of the contained model of a target concept."""
    return f"unlearned-{target}", f"contained-{target}"


def profile_models(inputs: ReportInputs, *, target: str) -> tuple[str, ...]:
    """Return the study's models less further containments and those of another target concept."""
    others = {name for t in inputs.target_concepts if t != target for name in model_names(t)}
    return tuple(m for m in inputs.models if m not in others and not is_further_containment(m))


def is_further_containment(model: str) -> bool:
    """Return whether a model is of one of the containments that stand beside the main one."""
    return model.startswith("contained_")


def chains(inputs: ReportInputs) -> tuple[Chain, ...]:
    """Return one chain per target concept whose unlearned model is in the study."""
    scores = estimates(inputs.scores)
    compared = pooled_comparisons(inputs.comparisons, ema_threshold=inputs.ema_threshold)
    recoveries = pooled_recoveries(inputs.recoveries)
    return tuple(
        _chain(inputs, target, scores, compared, recoveries)
        for target in inputs.target_concepts
        if model_names(target)[0] in inputs.models
    )


def _chain(
    inputs: ReportInputs,
    target: str,
    scores: dict[ScoreKey, Estimate],
    compared: tuple[Comparison, ...],
    recoveries: tuple[Recovery, ...],
) -> Chain:
    unlearned, name = model_names(target)
    contained = name if name in inputs.models else None
    others = tuple(concept for concept in inputs.concepts if concept != target)
    changed = tuple(model for model in (unlearned, contained) if model)

    def target_rate(model: str | None) -> Estimate:
        return scores.get((model or "", "refusal_rate", target), UNKNOWN)

    def mean_to(model: str | None) -> Estimate:
        return mean_change(inputs.comparisons, before=ALIGNED, after=model or "", concepts=others)

    return Chain(
        target=target,
        judge=judges_by_metric(inputs.scores).get("refusal_rate", ("",))[0],
        threshold=inputs.ema_threshold,
        others=others,
        aligned=ALIGNED,
        unlearned=unlearned,
        contained=contained,
        target_aligned=target_rate(ALIGNED),
        target_unlearned=target_rate(unlearned),
        target_contained=target_rate(contained),
        erosion=_refusal_changes(compared, after=unlearned, concepts=others),
        erosion_left=_refusal_changes(compared, after=contained, concepts=others),
        mean_erosion=mean_to(unlearned),
        mean_erosion_left=mean_to(contained),
        recovery=next((row for row in recoveries if row.contained == contained), None),
        side_effects=_side_effects(compared, changed),
    )


def _refusal_changes(
    rows: Iterable[Comparison], *, after: str | None, concepts: tuple[str, ...]
) -> tuple[Comparison, ...]:
    found = {
        row.concept: row
        for row in rows
        if (row.before, row.after, row.metric) == (ALIGNED, after, "refusal_rate")
    }
    return tuple(found[concept] for concept in concepts if concept in found)


def _side_effects(rows: Iterable[Comparison], models: tuple[str, ...]) -> tuple[Comparison, ...]:
    found = [
        row
        for row in rows
        if row.before == ALIGNED and row.after in models and row.metric != "refusal_rate"
    ]
    pooled = {row.after for row in found if row.concept == POOLED_BENIGN}
    return tuple(
        row
        for row in found
        if row.metric != "over_refusal" or row.concept == POOLED_BENIGN or row.after not in pooled
    )
