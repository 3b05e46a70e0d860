"""Turns two sets of directions into the angles between what they span, beside two nulls.

Behaviours may share a plane without sharing a direction. In few dimensions any two subspaces lie
close, and states vary along few: so angles are held against random subspaces, and against
directions with the states' own covariance. Knows nothing of what the directions stand for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spillover.analysis.layer_plots import new_panels
from spillover.analysis.nulls import matched_directions, random_subspaces
from spillover.analysis.subspaces import leading_directions, principal_angles
from spillover.records import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class SubspaceAngles(Record):
    """The principal angles of two subspaces at one layer, in degrees, smallest first."""

    layer: int
    angles: tuple[float, ...]
    random_low: tuple[float, ...]
    "2.5% of the angles with random subspaces are smaller, angle by angle."
    matched_low: tuple[float, ...]
    "The same with directions of the states' covariance in the first subspace's place."
    matched_high: tuple[float, ...]
    p_random: float
    "P(a random subspace comes as near), by the smallest angle."
    p_matched: float
    "P(directions of the states' covariance come as near); the stricter null."


def subspace_angles(
    first: Float[Tensor, "first d_model"],
    second: Float[Tensor, "second d_model"],
    states: Float[Tensor, "example d_model"],
    *,
    layer: int,
    generator: torch.Generator,
    k: int = 3,
    n_draws: int = 300,
) -> SubspaceAngles:
    """Compare the subspaces in which two sets of directions mostly lie.

    Args:
        first: Directions of one kind, one a row, such as the differences of single prompts; their
            k leading ones (uncentred: what they share counts) span the first subspace.
        second: Directions of the other kind.
        states: States that both were made from, for the matched null.
        layer: Where all of them are; kept in the record.
        generator: Draws both nulls.
        k: Dimensions of each subspace, at most as many as its rows span.
        n_draws: Of each null.

    Raises:
        ValueError: If a set is empty or all 0.
    """
    sizes = [min(k, _n_spanned(rows)) for rows in (first, second)]
    if min(sizes) < 1:
        raise ValueError(f"layer {layer}: a set has no directions; give two that have some")
    ours, theirs = (
        leading_directions(rows, k=size, centred=False).directions
        for rows, size in zip((first, second), sizes, strict=True)
    )
    angles = principal_angles(ours, theirs)
    drawn = random_subspaces(n_draws, k=sizes[0], d_model=first.shape[1], generator=generator)
    random = torch.stack([principal_angles(basis, theirs) for basis in drawn])
    matched = torch.stack(
        [
            principal_angles(matched_directions(states, n=sizes[0], generator=generator), theirs)
            for _ in range(n_draws)
        ]
    )
    return SubspaceAngles(
        layer=layer,
        angles=_numbers(angles),
        random_low=_numbers(random.quantile(0.025, dim=0)),
        matched_low=_numbers(matched.quantile(0.025, dim=0)),
        matched_high=_numbers(matched.quantile(0.975, dim=0)),
        p_random=_as_near(angles, random),
        p_matched=_as_near(angles, matched),
    )


def _n_spanned(rows: Float[Tensor, "row d_model"]) -> int:
    """Return how many dimensions rows span, but for rounding."""
    if rows.numel() == 0:
        return 0
    return int(torch.linalg.matrix_rank(rows.double(), rtol=1e-5))


def _numbers(values: Float[Tensor, " angle"]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _as_near(angles: Float[Tensor, " angle"], drawn: Float[Tensor, "draw angle"]) -> float:
    return float(1 + (drawn[:, 0] <= angles[0] + 1e-9).sum()) / (1 + len(drawn))


def plot_subspace_angles(found: Sequence[SubspaceAngles]) -> "Figure":
    """Draw the smallest angle by layer, over that of directions with the states' covariance."""
    figure, (axes,) = new_panels(1, width=6.4, height=3.2)
    layers = [at.layer for at in found]
    low, high = ([getattr(at, name)[0] for at in found] for name in ("matched_low", "matched_high"))
    axes.fill_between(
        layers, low, high, color="#bbbbbb", linewidth=0, label="directions of states' covariance"
    )
    axes.plot(
        layers,
        [at.random_low[0] for at in found],
        linestyle="--",
        color="#767676",
        label="random, lowest 2.5%",
    )
    axes.plot(layers, [at.angles[0] for at in found], marker=".", label="smallest angle")
    axes.set_ylim(0, 90)
    axes.set_yticks(np.arange(0, 91, 30))
    axes.set_xlabel("layer")
    axes.set_ylabel("degrees")
    axes.legend()
    return figure
