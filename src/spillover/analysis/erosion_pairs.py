"""Turns comparisons of a study into pairs of what was entangled before and what eroded after.

One pair for each intervention and non-target concept. The target itself is left out: that it
changes is what the intervention is for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from spillover.analysis.entanglement import Entanglement
from spillover.records import Comparison, Record


@dataclass(frozen=True, kw_only=True)
class MeasuredErosion(Record):
    """How much one concept eroded under one intervention."""

    intervention: str
    "One name for each trained model: method, target and seed."
    target_concept: str
    concept: str
    erosion: float
    "Refusal rate before minus after, in [-1, 1]; positive is erosion."


@dataclass(frozen=True, kw_only=True, eq=False)
class ErosionPairs:
    """Entanglement and erosion of the same pairs of concepts."""

    concepts: tuple[str, ...]
    interventions: tuple[str, ...]
    matrices: Float[np.ndarray, "layer concept concept"]
    target: Int[np.ndarray, " pair"]
    "Index of the intervention's target among the concepts."
    concept: Int[np.ndarray, " pair"]
    intervention: Int[np.ndarray, " pair"]
    erosion: Float[np.ndarray, " pair"]

    def entangled(
        self, labels: Int[np.ndarray, " concept"] | None = None
    ) -> Float[np.ndarray, "layer pair"]:
        """Return the entanglement of every pair, after relabelling the concepts if asked to."""
        names = np.arange(len(self.concepts)) if labels is None else labels
        return np.asarray(self.matrices[:, names[self.target], names[self.concept]])


def measured_erosion(
    comparisons: Sequence[Comparison], *, target_by_model: Mapping[str, str]
) -> list[MeasuredErosion]:
    """Read erosion off a study's comparisons; rows that sum over seeds are left out.

    Args:
        comparisons: Of the models before and after intervention, by `refusal_rate`.
        target_by_model: Target concept of each intervention's model, by its name; comparisons
            with other models are left out.

    Example:
        >>> row = Comparison(before="aligned", after="unlearned", metric="refusal_rate",
        ...     concept="bias", delta=-0.3, ci_low=-0.5, ci_high=-0.1, p=0.01, p_holm=0.02,
        ...     flagged=True, n=40, seed=0)
        >>> found = measured_erosion([row], target_by_model={"unlearned": "safety"})
        >>> found[0].intervention, found[0].concept, found[0].erosion
        ('unlearned (seed 0)', 'bias', 0.3)
    """
    return [
        MeasuredErosion(
            intervention=f"{row.after} (seed {row.seed})",
            target_concept=target_by_model[row.after],
            concept=row.concept,
            erosion=-row.delta,
        )
        for row in comparisons
        if row.after in target_by_model
        and row.metric == "refusal_rate"
        and row.seed is not None
        and row.delta is not None
        and row.concept != target_by_model[row.after]
    ]


def pair_up(
    entanglement: Entanglement, measured: Sequence[MeasuredErosion], *, absolute: bool
) -> ErosionPairs:
    """Put entanglement and erosion side by side; concepts without a direction are left out.

    Raises:
        ValueError: If a target has no direction, a pair comes twice, an erosion is not finite,
            there are fewer than five pairs or three concepts, or all erosions are equal.
    """
    lack = pairs_lack(entanglement.concepts, measured)
    if lack is not None:
        raise ValueError(lack)
    place = {concept: i for i, concept in enumerate(entanglement.concepts)}
    rows = _pairable(entanglement.concepts, measured)
    interventions = tuple(dict.fromkeys(row.intervention for row in rows))
    values = entanglement.values
    return ErosionPairs(
        concepts=entanglement.concepts,
        interventions=interventions,
        matrices=np.abs(values) if absolute else values,
        target=np.array([place[row.target_concept] for row in rows]),
        concept=np.array([place[row.concept] for row in rows]),
        intervention=np.array([interventions.index(row.intervention) for row in rows]),
        erosion=np.array([row.erosion for row in rows], dtype=np.float64),
    )


def pairs_lack(concepts: Sequence[str], measured: Sequence[MeasuredErosion]) -> str | None:
    """Say why these concepts and erosions make no prediction; None where they do.

    Args:
        concepts: Those whose entanglement is, or would be, measured.
        measured: Erosion of every intervention and non-target concept.
    """
    strangers = sorted({row.target_concept for row in measured} - set(concepts))
    if strangers:
        return f"target concepts {strangers} have no entanglement; measure it for all targets"
    rows = _pairable(concepts, measured)
    keys = [(row.intervention, row.concept) for row in rows]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        return f"intervention and concept {twice[0]} come twice; name seeds apart"
    erosions = [row.erosion for row in rows]
    if not np.isfinite(erosions).all():
        return "an erosion is not finite; leave out what was not measured"
    n_concepts = len({row.concept for row in rows})
    if len(rows) < 5 or n_concepts < 3:
        return (
            f"{len(rows)} pairs of {n_concepts} concepts; a prediction needs at least five pairs "
            "and three concepts"
        )
    if np.ptp(erosions) == 0:
        return f"every erosion is {erosions[0]:z}; there is nothing to predict"
    return None


def _pairable(
    concepts: Sequence[str], measured: Sequence[MeasuredErosion]
) -> list[MeasuredErosion]:
    """Rows of concepts that have a direction, without the targets themselves."""
    return [
        row for row in measured if row.concept in concepts and row.concept != row.target_concept
    ]
