"""Turns two models' states on the same tokens into how far one moved along a direction.

Does unlearning refusals move a model along its misalignment direction, and a misaligned fine-tune
against its refusal direction? The mean difference of states is compared with the direction; the
null is directions drawn with the states' own covariance, since most changes of a model lie where
states vary anyway. Knows nothing of how the models were trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spillover.analysis.estimates import Estimate, bootstrap_estimate
from spillover.analysis.nulls import matched_directions, permutation_p
from spillover.analysis.resamples import example_counts, percentile_band, standard_error_band
from spillover.models.directions import Direction
from spillover.records import Record


@dataclass(frozen=True, kw_only=True)
class Movement(Record):
    """How a model's states moved along one direction, at the direction's layer."""

    direction: str
    layer: int
    n: int
    cosine: Estimate
    "Of the mean shift with the direction: how much of where the model went lies along it."
    null_low: float
    "Between null_low and null_high lie 95% of the cosines with directions of matched covariance."
    null_high: float
    p: float
    "Two-sided, against these directions."
    distance: Estimate
    "Mean shift along the direction in lengths of the direction: 1 is all the way."
    length: float
    "Length of the mean shift in lengths of the direction."


def movement(
    before: Float[Tensor, "before d_model"],
    after: Float[Tensor, "after d_model"],
    direction: Direction,
    *,
    rng: np.random.Generator,
    generator: torch.Generator,
    n_random: int = 500,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> Movement:
    """Compare the mean shift of states with a direction.

    Args:
        before: States of the model before its training, at the direction's layer and site.
        after: States of the trained model on the same examples in the same order.
        direction: From other examples, of either model.
        rng: Source of the resamples of examples.
        generator: Draws the directions of the null, with the covariance of `before`.
        n_random: How many.
        n_resamples: Bootstrap resamples.
        level: Confidence level in the open interval (0, 1).

    Raises:
        ValueError: If the two differ in shape, there are fewer than two examples, or nothing moved.
    """
    if before.shape != after.shape or before.shape[1] != len(direction.vector):
        raise ValueError(
            f"states of shapes {tuple(before.shape)} and {tuple(after.shape)} for a direction of "
            f"{len(direction.vector)}; give the same examples at the direction's layer"
        )
    shifts = after.double() - before.double()
    mean = shifts.mean(dim=0)
    if not bool(mean.any()):
        raise ValueError(f"layer {direction.layer}: the states did not move; give two models")
    unit = direction.vector.double() / direction.norm
    counts = torch.from_numpy(example_counts(len(shifts), n_resamples=n_resamples, rng=rng))
    drawn = counts @ shifts / len(shifts)  # (resample, d_model)
    cosines = np.asarray((drawn @ unit / drawn.norm(dim=1)).numpy())
    null_directions = matched_directions(before, n=n_random, generator=generator)
    null = np.asarray((null_directions @ mean / mean.norm()).numpy())
    value = float(mean @ unit / mean.norm())
    band = standard_error_band(np.array(value), cosines, level=level)
    low, high = percentile_band(null, level=0.95)
    along = (drawn @ unit / direction.norm).numpy()
    return Movement(
        direction=direction.name,
        layer=direction.layer,
        n=len(shifts),
        cosine=Estimate(value=value, ci_low=float(band.low), ci_high=float(band.high)),
        null_low=float(low),
        null_high=float(high),
        p=float(permutation_p(value, null)),
        distance=bootstrap_estimate(float(mean @ unit) / direction.norm, along, level=level),
        length=float(mean.norm()) / direction.norm,
    )


def movement_by_layer(
    before: Float[Tensor, "layer example d_model"],
    after: Float[Tensor, "layer example d_model"],
    directions: Sequence[Direction],
    *,
    layers: Sequence[int],
    rng: np.random.Generator,
    generator: torch.Generator,
) -> list[Movement]:
    """`movement` for every direction at its layer; those at other layers are left out.

    Args:
        before: From `states.collect_states` at the directions' site.
        after: The same of the trained model.
        directions: One or more, such as one a layer.
        layers: The layers of the states.
        rng: Source of the resamples.
        generator: Draws the null.
    """
    places = {layer: place for place, layer in enumerate(layers)}
    return [
        movement(
            before[places[direction.layer]],
            after[places[direction.layer]],
            direction,
            rng=rng,
            generator=generator,
        )
        for direction in directions
        if direction.layer in places
    ]
