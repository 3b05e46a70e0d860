"""Turns two models' states on the same prompts into how far they moved, layer by layer.

The size of the mean change, relative to the states' own length, with a bootstrap band over prompts
and the null in which each pair's two states are swapped at random: a change that goes another way
for every prompt has a mean no larger than that. Knows nothing of why a model moved; for movement
along a direction see `movements`, for erosion against a base model `erosion`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from spillover.analysis.alignment_directions import Projections
from spillover.analysis.estimates import Estimate
from spillover.analysis.resamples import example_counts, standard_error_band
from spillover.records import Record


@dataclass(frozen=True, kw_only=True)
class StateChange(Record):
    """How far states moved at one layer, in mean lengths of the states before."""

    layer: int
    change: Estimate
    null: float
    "95% of random swaps of before and after have a smaller mean change."
    contrast: Estimate
    "Less the change on the control prompts."
    control: Estimate


def state_changes(
    before: Float[Tensor, "layer example d_model"],
    after: Float[Tensor, "after_layer after_example after_model"],
    control_before: Float[Tensor, "layer control d_model"],
    control_after: Float[Tensor, "after_layer after_control after_model"],
    *,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> list[StateChange]:
    """Size of the mean change of states, on the prompts in question and on control prompts.

        change_l = ||mean_i(after_li - before_li)|| / mean_i ||before_li||

    Bands are normal ones with the bootstrap's standard error, since a resample's mean has a larger
    norm than the sample's. The null swaps the two states of each pair with a chance of one half.

    Args:
        before: States of the model before its training.
        after: Of the trained model, on the same prompts in the same order.
        control_before: The same on other prompts, such as benign ones.
        control_after: Of the trained model.
        rng: Source of resamples and swaps.
        n_resamples: Number of each.
        level: Confidence level in the open interval (0, 1).

    Returns:
        One row a layer, counted from 0.

    Raises:
        ValueError: If before and after differ in shape, or there are fewer than two prompts.
    """
    for one, other in ((before, after), (control_before, control_after)):
        if one.shape != other.shape:
            raise ValueError(
                f"states of shapes {tuple(one.shape)} and {tuple(other.shape)}; give the same "
                "prompts under models with the same layers and width"
            )
    n_layers, n, _ = before.shape
    weights = example_counts(n, n_resamples=n_resamples, rng=rng) / n
    others = control_before.shape[1]
    control_weights = example_counts(others, n_resamples=n_resamples, rng=rng) / others
    swaps = rng.choice([-1.0, 1.0], size=(n_resamples, n)) / n
    rows = []
    for layer in range(n_layers):
        value, drawn, null = _relative_norms(before[layer], after[layer], weights, swaps)
        control, control_drawn, _ = _relative_norms(
            control_before[layer], control_after[layer], control_weights, None
        )
        rows.append(
            StateChange(
                layer=layer,
                change=_estimate(value, drawn, level),
                null=float(np.quantile(null, level)),
                control=_estimate(control, control_drawn, level),
                contrast=_estimate(value - control, drawn - control_drawn, level, floor=-np.inf),
            )
        )
    return rows


def _relative_norms(
    before: Float[Tensor, "example d_model"],
    after: Float[Tensor, "example d_model"],
    weights: NDArray[np.float64],
    swaps: NDArray[np.float64] | None,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the size of the mean change, of resampled ones, and of those under the null."""
    shifts = after.double() - before.double()
    length = float(before.double().norm(dim=1).mean())
    gram = (shifts @ shifts.T).numpy() / length**2  # All norms of means are in it.

    def norms(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        squares = np.einsum("ri,ij,rj->r", rows, gram, rows, optimize=True)
        return np.asarray(np.sqrt(np.clip(squares, 0, None)))

    n = len(shifts)
    null = np.zeros(1) if swaps is None else norms(swaps)
    return float(norms(np.full((1, n), 1 / n))[0]), norms(weights), null


def _estimate(
    value: float, drawn: NDArray[np.float64], level: float, *, floor: float = 0.0
) -> Estimate:
    band = standard_error_band(np.array(value), drawn, level=level)
    return Estimate(value=value, ci_low=max(floor, float(band.low)), ci_high=float(band.high))


def prompt_projections(
    states: Float[Tensor, "layer example d_model"], direction: Float[Tensor, "layer d_model"]
) -> Projections:
    """Project states on one direction a layer, one state an example, for `erosion_by_layer`.

    Args:
        states: One state for each layer and example.
        direction: Of any length but 0; made from other examples.
    """
    unit = torch.nn.functional.normalize(direction.double(), dim=1)
    along = torch.einsum("led,ld->le", states.double(), unit).numpy()[None]
    return Projections(
        definition="tokens",
        layers=tuple(range(len(states))),
        total=along,
        squares=along**2,
        n_samples=np.ones(states.shape[1]),
    )
