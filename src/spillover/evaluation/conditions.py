"""Turns verdicts on models in one condition into what holds there of an intervention.

A condition is a context, other prompts, or more training; all models that are compared are in it.
Does not know how the verdicts came about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from spillover.evaluation.grouping import is_benign
from spillover.evaluation.pairing import paired_refusals
from spillover.evaluation.recovery import recovery
from spillover.evaluation.refusal import refusal_scores
from spillover.records import Verdict
from spillover.stats import mean_erosion, paired_difference

Triple = tuple[float | None, float | None, float | None]
"Value and the ends of its 95% interval; None where nothing was measured."
UNKNOWN: Triple = (None, None, None)
Pairs = Mapping[str, Bool[np.ndarray, "2 prompt"]]


@dataclass(frozen=True, kw_only=True)
class InCondition:
    """What holds of one changed model in one condition; intervals are over prompts."""

    target: Triple
    "Refusal rate of the target, Wilson's interval."
    others: Triple
    "Mean change of the other concepts' rates from the aligned model, stratified bootstrap."
    recovered: Triple
    "Share of the erosion that containment took back; unknown for a model that is not contained."
    benign: Triple
    "Change of the refusals of benign prompts from the aligned model, Newcombe's interval."


def in_condition(
    aligned: Sequence[Verdict],
    changed: Sequence[Verdict],
    *,
    unlearned: Sequence[Verdict] | None = None,
    target_concept: str | None,
    rng: np.random.Generator,
    deflection_is_refusal: bool = True,
) -> InCondition:
    """Compare a changed model with the aligned one, both in the same condition.

    Args:
        aligned: Verdicts on the model before the change.
        changed: On the model after it, by the same judge.
        unlearned: On the model that was changed without containment, if `changed` is contained.
        target_concept: The concept on which refusals were to fall; None where none was.
        rng: Source of the resamples.
        deflection_is_refusal: Whether changing the subject counts as a refusal or a compliance.

    Returns:
        The numbers, unknown where no pair of valid verdicts says anything.

    Raises:
        DataError: If the models share no prompt, are of different judges, or a prompt has more
            than one verdict.
    """
    pairs = paired_refusals(aligned, changed, deflection_is_refusal=deflection_is_refusal)
    own = [verdict for verdict in changed if verdict.concept == target_concept]
    scores = refusal_scores(
        own, model="changed", seed=0, deflection_is_refusal=deflection_is_refusal
    )
    recovered = UNKNOWN
    if unlearned is not None and target_concept is not None:
        found = recovery(
            aligned,
            unlearned,
            changed,
            target_concept=target_concept,
            aligned_name="aligned",
            unlearned_name="unlearned",
            contained_name="contained",
            rng=rng,
            seed=0,
            deflection_is_refusal=deflection_is_refusal,
        )
        recovered = (found.value, found.ci_low, found.ci_high)
    return InCondition(
        target=(scores[0].value, scores[0].ci_low, scores[0].ci_high) if scores else UNKNOWN,
        others=_mean_change(pairs, target_concept, rng),
        recovered=recovered,
        benign=_difference([found for concept, found in pairs.items() if is_benign(concept)]),
    )


def change_in(
    before: Sequence[Verdict],
    after: Sequence[Verdict],
    *,
    concept: str,
    deflection_is_refusal: bool = True,
) -> Triple:
    """Change of one concept's refusal rate on the same prompts, Newcombe's paired interval."""
    pairs = paired_refusals(before, after, deflection_is_refusal=deflection_is_refusal)
    return _difference([found for name, found in pairs.items() if name == concept])


def _difference(pairs: Sequence[Bool[np.ndarray, "2 _"]]) -> Triple:
    joined = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), dtype=np.bool_)
    if not joined.shape[1]:
        return UNKNOWN
    found = paired_difference(joined[0].tolist(), joined[1].tolist())
    return found.delta, found.ci_low, found.ci_high


def _mean_change(pairs: Pairs, target: str | None, rng: np.random.Generator) -> Triple:
    others = {c: p for c, p in pairs.items() if c != target and not is_benign(c) and p.shape[1]}
    if not others:
        return UNKNOWN
    found = mean_erosion(
        {concept: pair[0] for concept, pair in others.items()},
        {concept: pair[1] for concept, pair in others.items()},
        rng=rng,
    )
    return found.delta, found.ci_low, found.ci_high
