"""Turns a direction and others into the part it shares with them and the part that is its own.

Knows nothing of what the directions stand for. Whether a part carries a behaviour is shown by
adding or ablating it, which `effects_of_directions` does for any set of directions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from spillover.analysis.interventions import (
    Effect,
    Intervention,
    Probe,
    Resampling,
    effect,
    probe_scores,
)
from spillover.models.directions import Direction, orthonormal_basis
from spillover.models.loading import LoadedModel
from spillover.models.steering import ablate_directions, add_direction


@dataclass(frozen=True, kw_only=True, eq=False)
class DirectionParts:
    """A direction split in two orthogonal vectors."""

    shared: Direction | None
    "Its projection on the span of the others; None where it is orthogonal to them."
    private: Direction | None
    "The rest; None where it lies in that span."
    shared_share: float
    "Share of its squared length that is shared, in [0, 1]: the squared cosine with one other."
    expected_random: float
    "The share that a random direction shares on average: k / d_model."


def split_direction(direction: Direction, others: Sequence[Direction]) -> DirectionParts:
    """Split a direction into what it shares with the span of some others and what it does not.

    Args:
        direction: What is split.
        others: Directions at the same layer and site.

    Raises:
        ValueError: If there are no others, they are elsewhere, or they are linearly dependent.
    """
    place = (direction.layer, direction.site)
    if not others or any((other.layer, other.site) != place for other in others):
        raise ValueError(
            f"give directions at {direction.site} of layer {direction.layer}, at least one; "
            "elsewhere states have other axes"
        )
    basis = orthonormal_basis(torch.stack([other.unit for other in others]), tolerance=1e-6)
    exact = direction.vector.double()
    shared = (basis @ exact) @ basis
    private = exact - shared
    tiny = 1e-6 * direction.norm
    names = " and ".join(other.name for other in others)
    return DirectionParts(
        shared=direction.with_vector(shared, name=f"{direction.name} within {names}")
        if shared.norm() > tiny
        else None,
        private=direction.with_vector(private, name=f"{direction.name} less {names}")
        if private.norm() > tiny
        else None,
        shared_share=float(shared.square().sum() / exact.square().sum()),
        expected_random=len(basis) / len(exact),
    )


def effects_of_directions(
    loaded: LoadedModel,
    directions: Sequence[Direction],
    *,
    probes: Sequence[Probe],
    resampling: Resampling,
    strengths: Sequence[float] = (-1.0, 1.0),
) -> list[Effect]:
    """What ablating each direction, and adding it at each strength, does to every measure.

    Give two directions and probes of both behaviours to see what each does to the other's, and
    random directions (`dose_curves.random_like`) among them as the null.

    Args:
        loaded: The model; as it was afterwards.
        directions: Ablated everywhere, and added at their own layer. Their names tell them apart.
        probes: What is asked.
        resampling: How intervals are made.
        strengths: In mean activation norms.

    Returns:
        The model as it is (`none`), then for each direction `ablate NAME` and `add STRENGTH NAME`.

    Raises:
        ValueError: If two directions have one name.
    """
    names = [direction.name for direction in directions]
    if len(set(names)) < len(names):
        raise ValueError(f"directions are called {names}; give each a name of its own")
    own = probe_scores(loaded, probes)
    found = [
        effect(measure, values, before=None, intervention="none", resampling=resampling)
        for measure, values in own.items()
    ]
    for direction in directions:
        for intervention in _interventions(direction, strengths):
            scores = probe_scores(loaded, probes, intervention)
            found += [
                effect(
                    measure,
                    values,
                    before=own[measure],
                    intervention=intervention.name,
                    resampling=resampling,
                )
                for measure, values in scores.items()
            ]
    return found


def _interventions(direction: Direction, strengths: Sequence[float]) -> list[Intervention]:
    ablation = Intervention(
        f"ablate {direction.name}",
        lambda loaded: ablate_directions(loaded.model, loaded.architecture, direction),
    )
    return [ablation, *(_addition(direction, strength) for strength in strengths)]


def _addition(direction: Direction, strength: float) -> Intervention:
    return Intervention(
        f"add {strength:g} {direction.name}",
        lambda loaded: add_direction(
            loaded.model,
            loaded.architecture,
            direction,
            strength=strength,
            units="activation_norm",
        ),
    )


def null_range(effects: Sequence[Effect], *, measure: str, prefix: str) -> tuple[float, float]:
    """Return the lowest and highest change of a measure over interventions by their name's start.

    Args:
        effects: From `effects_of_directions`.
        measure: Which measure.
        prefix: What the interventions' names begin with, such as `ablate random`.

    Raises:
        ValueError: If there are none.
    """
    changes = [
        e.change.value
        for e in effects
        if e.measure == measure and e.intervention.startswith(prefix) and e.change is not None
    ]
    if not changes:
        raise ValueError(f"no intervention of {measure!r} begins with {prefix!r}")
    return float(np.min(changes)), float(np.max(changes))
