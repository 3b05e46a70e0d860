"""Turns concept directions and held-out states into how well a direction tells its concept apart.

A vector that does not tell its concept's prompts from benign ones is not that concept's, whatever
its cosines with others; so this stands beside them. Knows nothing of how directions are made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor

from spillover.analysis.concept_vectors import ConceptDirections, ConceptStates
from spillover.analysis.layer_plots import new_panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False)
class Separability:
    """Areas under the ROC curve of projections, concept against benign prompts."""

    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    values: Mapping[str, Float[np.ndarray, "concept layer"]]
    "By method, in [0, 1]: 0.5 tells nothing, below it the sign is wrong."
    random_high: Float[np.ndarray, " layer"]
    "95% of random directions separate no better than this, either way round."

    def to_frame(self) -> "pd.DataFrame":
        """Return one row for each method, concept and layer."""
        import pandas as pd

        rows = [
            {"method": m, "concept": c, "layer": layer, "auc": float(values[i, j])}
            | {"random_high": float(self.random_high[j])}
            for m, values in self.values.items()
            for i, c in enumerate(self.concepts)
            for j, layer in enumerate(self.layers)
        ]
        return pd.DataFrame(rows)

    def plot(self) -> "Figure":
        """Draw the mean over concepts by layer, with the range over concepts."""
        figure, (axes,) = new_panels(1, width=6.4, height=3.4)
        for method, values in self.values.items():
            (line,) = axes.plot(self.layers, values.mean(axis=0), marker=".", label=method)
            colour = line.get_color()
            low, high = values.min(axis=0), values.max(axis=0)
            axes.fill_between(self.layers, low, high, alpha=0.1, color=colour, linewidth=0)
        axes.plot(self.layers, self.random_high, color="#767676", linestyle=":", label="random")
        axes.axhline(0.5, color="#767676", linewidth=0.8)
        axes.set_xlabel("layer")
        axes.set_ylabel("area under ROC")
        axes.legend()
        return figure


def separability(
    directions: Mapping[str, ConceptDirections],
    *,
    states: ConceptStates,
    neutral: Float[Tensor, "layer neutral d_model"],
    layers: Sequence[int],
    generator: torch.Generator,
    n_random: int = 100,
) -> Separability:
    """How well does each direction tell prompts of its concept from benign ones?

    Args:
        directions: By method, all of the same concepts.
        states: Of the same concepts' prompts, other than those that made the directions.
        neutral: Of benign prompts, likewise held out.
        layers: Which layers these are.
        generator: Draws the random directions.
        n_random: How many of them.
    """
    concepts = next(iter(directions.values())).concepts
    values = {
        method: np.stack(
            [_aucs(of.unit[i], states[concept], neutral) for i, concept in enumerate(concepts)]
        )
        for method, of in directions.items()
    }
    width = neutral.shape[-1]
    drawn = []
    for _ in range(n_random):
        unit = torch.randn(len(layers), width, generator=generator, dtype=torch.float64)
        found = np.stack([_aucs(unit, states[concept], neutral) for concept in concepts])
        drawn.append(0.5 + np.abs(found - 0.5).mean(axis=0))
    return Separability(
        concepts=concepts,
        layers=tuple(layers),
        values=values,
        random_high=np.quantile(np.stack(drawn), 0.95, axis=0),
    )


def area_under_roc(
    positive: Float[np.ndarray, " one"], negative: Float[np.ndarray, " other"]
) -> float:
    """P(a positive is larger than a negative), ties counting half (Mann and Whitney 1947).

    Example:
        >>> area_under_roc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))  # (1 + 0.5 + 1 + 1) / 4
        0.875
    """
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    n, m = len(positive), len(negative)
    return float((ranks.sum() - n * (n + 1) / 2) / (n * m))


def _aucs(
    unit: Float[Tensor, "layer d_model"],
    states: Float[Tensor, "layer _ d_model"],
    neutral: Float[Tensor, "layer neutral d_model"],
) -> Float[np.ndarray, " layer"]:
    inside = torch.einsum("ld,lnd->ln", unit, states.double()).numpy()
    outside = torch.einsum("ld,lnd->ln", unit, neutral.double()).numpy()
    return np.array([area_under_roc(a, b) for a, b in zip(inside, outside, strict=True)])
