"""Turns contrasts under different models, or of different kinds, into cosines by layer with nulls.

Do two fine-tunes find one direction (2506.11618, section 3)? Is misalignment the same direction
as not refusing? Three things make cosines large without any of that, and each has its null here:
chance in few dimensions (a uniformly random direction), states that vary along few directions
(labels shuffled), and the same texts read twice (shuffled and resampled alike on both sides).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spillover.analysis.contrasts import (
    Contrast,
    difference,
    drawn_differences,
    resample_coefficients,
    shuffle_coefficients,
)
from spillover.analysis.estimate_columns import estimate_columns
from spillover.analysis.estimates import Estimate
from spillover.analysis.layer_plots import draw_band, new_panels
from spillover.analysis.nulls import isotropic_cosine_p, max_statistic_p, permutation_p
from spillover.analysis.resamples import percentile_band, standard_error_band
from spillover.records import Record

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class LayerCosine(Record):
    """The cosine between two directions at one layer."""

    layer: int
    cosine: Estimate
    "Of the two sample directions; noise in them pulls it towards 0. -/+ z standard errors."
    null_low: float
    "Between null_low and null_high lie 95% of the cosines with labels shuffled."
    null_high: float
    p_shuffled: float
    "Two-sided, this layer by itself."
    p_any_layer: float
    "Corrected for having looked at every layer."
    p_random: float
    "P(|cosine| as large) between a fixed and a uniformly random direction."


@dataclass(frozen=True, kw_only=True)
class DirectionCosines(Record):
    """Two directions compared layer by layer."""

    first: str
    second: str
    same_texts: bool
    n_first: int
    "Examples of both kinds together."
    n_second: int
    layers: tuple[LayerCosine, ...]

    @property
    def caption(self) -> str:
        """What the figure shows, and what it does not."""
        texts = "the same texts" if self.same_texts else "different texts"
        return (
            f"Cosine of {self.first} with {self.second} by layer, made from {texts}; band: 95% "
            "interval over examples. Grey: 95% of the cosines with labels shuffled, which is what "
            "states that vary along few directions give by themselves. A cosine says that two "
            "directions are alike, not that either causes a behaviour."
        )

    def to_frame(self) -> "pd.DataFrame":
        """Return one row for each layer."""
        import pandas as pd

        rows = []
        for at in self.layers:
            head = {"first": self.first, "second": self.second, "layer": at.layer}
            tail = {name: getattr(at, name) for name in ("null_low", "null_high", "p_shuffled")}
            tail |= {"p_any_layer": at.p_any_layer, "p_random": at.p_random}
            rows.append(head | estimate_columns("cosine", at.cosine) | tail)
        return pd.DataFrame(rows)

    def plot(self) -> "Figure":
        """Draw the cosine by layer over its null."""
        return plot_cosines([self])


def plot_cosines(found: Sequence[DirectionCosines]) -> "Figure":
    """Draw the cosines of several pairs by layer, each over its null, below one another."""
    figure, panels = new_panels(len(found), width=6.4, height=0.8 + 2.4 * len(found))
    for axes, pair in zip(panels, found, strict=True):
        places = [at.layer for at in pair.layers]
        low, high = [at.null_low for at in pair.layers], [at.null_high for at in pair.layers]
        axes.fill_between(places, low, high, color="#bbbbbb", linewidth=0, label="labels shuffled")
        draw_band(axes, places, [at.cosine for at in pair.layers], label="cosine")
        axes.axhline(0, color="#767676", linewidth=0.8)
        axes.set_ylabel(f"{pair.first} and\n{pair.second}", parse_math=False)
    panels[0].legend()
    panels[-1].set_xlabel("layer")
    return figure


def direction_cosines(
    first: Contrast,
    second: Contrast,
    *,
    names: tuple[str, str],
    rng: np.random.Generator,
    same_texts: bool = False,
    n_resamples: int = 500,
    n_shuffles: int = 500,
    level: float = 0.95,
) -> DirectionCosines:
    """Cosine between the directions of two contrasts at every layer.

    Args:
        first: One side, such as one organism's answers read by it.
        second: The other, at the same layers.
        names: What the two are called.
        rng: Source of resamples and shuffles.
        same_texts: Both contrasts are of the same texts in the same order, read by two models.
            Then both sides are resampled and shuffled alike: what any two halves of these texts
            have in common under both models is part of the null.
        n_resamples: Bootstrap resamples of the examples.
        n_shuffles: Shuffles of the labels.
        level: Confidence level in the open interval (0, 1).

    Raises:
        ValueError: If the contrasts differ in layers or width, a kind has fewer than two examples,
            or `same_texts` is said of contrasts of different sizes.
    """
    _check_alike(first, second, same_texts=same_texts)
    draws = _draws(first, n_resamples=n_resamples, n_shuffles=n_shuffles, rng=rng)
    others = draws
    if not same_texts:
        others = _draws(second, n_resamples=n_resamples, n_shuffles=n_shuffles, rng=rng)
    resampled, shuffled = (
        _cosine(drawn_differences(first, own), drawn_differences(second, other))
        for own, other in zip(draws, others, strict=True)
    )
    return _compared(
        first,
        _cosine(difference(first), difference(second)),
        resampled,
        shuffled,
        names=names,
        same_texts=same_texts,
        n=(draws[0].shape[1], others[0].shape[1]),
        level=level,
    )


def change_cosines(
    first: Contrast,
    second: Contrast,
    *,
    start: Contrast,
    names: tuple[str, str],
    rng: np.random.Generator,
    n_resamples: int = 500,
    n_shuffles: int = 500,
    level: float = 0.95,
) -> DirectionCosines:
    """Cosine between what two trainings changed of a direction, at every layer.

    Two models that come from one and read the same texts have nearly the same direction before
    anything is learnt. So that of the start is taken off, and what is left along it too, lest two
    trainings that only lengthen or shorten it agree; of few answers it is noisy, and a part stays.
    Not in 2506.11618.

    Args:
        first: The texts read by one trained model.
        second: The same texts read by the other.
        start: The same texts read by the model that both come from.
        names: What the two are called.
        rng: Source of resamples and shuffles, which are the same for all three.
        n_resamples: Bootstrap resamples of the examples.
        n_shuffles: Shuffles of the labels; the shuffled direction of the start is taken off alike.
        level: Confidence level in the open interval (0, 1).

    Raises:
        ValueError: If the three are not of the same texts at the same layers.
    """
    for trained in (first, second):
        _check_alike(trained, start, same_texts=True)
    resampled, shuffled = (
        _changed_cosine(*(drawn_differences(c, rows) for c in (first, second, start)))
        for rows in _draws(start, n_resamples=n_resamples, n_shuffles=n_shuffles, rng=rng)
    )
    n = start.n_positive + start.negative.shape[1]
    return _compared(
        start,
        _changed_cosine(difference(first), difference(second), difference(start)),
        resampled,
        shuffled,
        names=names,
        same_texts=True,
        n=(n, n),
        level=level,
    )


def _changed_cosine(
    one: Float[Tensor, "*draw layer d_model"],
    other: Float[Tensor, "*draw layer d_model"],
    start: Float[Tensor, "*draw layer d_model"],
) -> Float[Tensor, "*draw layer"]:
    axis = torch.nn.functional.normalize(start, dim=-1)
    rest = [x - (x * axis).sum(dim=-1, keepdim=True) * axis for x in (one - start, other - start)]
    return _cosine(*rest)


def _draws(
    contrast: Contrast, *, n_resamples: int, n_shuffles: int, rng: np.random.Generator
) -> tuple[Float[Tensor, "resample example"], Float[Tensor, "shuffle example"]]:
    return (
        resample_coefficients(contrast, n_resamples=n_resamples, rng=rng),
        shuffle_coefficients(contrast, n_shuffles=n_shuffles, rng=rng),
    )


def _compared(
    of: Contrast,
    cosine: Float[Tensor, " layer"],
    resampled: Float[Tensor, "resample layer"],
    shuffled: Float[Tensor, "shuffle layer"],
    *,
    names: tuple[str, str],
    same_texts: bool,
    n: tuple[int, int],
    level: float,
) -> DirectionCosines:
    """Put cosines by layer together with their resamples and with what shuffled labels give."""
    value, null = cosine.numpy(), shuffled.numpy()
    band = standard_error_band(value, resampled.numpy(), level=level)
    limits = percentile_band(null, level=0.95)
    p = permutation_p(value, null)
    centre = (null.sum(axis=0) + value) / (len(null) + 1)
    p_any = max_statistic_p(np.abs(value - centre), np.abs(null - centre))
    p_random = isotropic_cosine_p(value, dimension=of.positive.shape[2])
    return DirectionCosines(
        first=names[0],
        second=names[1],
        same_texts=same_texts,
        n_first=n[0],
        n_second=n[1],
        layers=tuple(
            LayerCosine(
                layer=layer,
                cosine=Estimate(
                    value=float(value[i]), ci_low=float(band.low[i]), ci_high=float(band.high[i])
                ),
                null_low=float(limits.low[i]),
                null_high=float(limits.high[i]),
                p_shuffled=float(p[i]),
                p_any_layer=float(p_any[i]),
                p_random=float(p_random[i]),
            )
            for i, layer in enumerate(of.layers)
        ),
    )


def _check_alike(first: Contrast, second: Contrast, *, same_texts: bool) -> None:
    shapes = [(c.layers, c.site, c.positive.shape[2]) for c in (first, second)]
    if shapes[0] != shapes[1]:
        raise ValueError("the contrasts differ in layers, site or width; collect both alike")
    sizes = [(c.positive.shape[1], c.negative.shape[1], c.is_paired) for c in (first, second)]
    if same_texts and sizes[0] != sizes[1]:
        raise ValueError(f"contrasts of {sizes[0]} and {sizes[1]} examples are not of one text set")


def _cosine(
    one: Float[Tensor, "*draw layer d_model"], other: Float[Tensor, "*draw layer d_model"]
) -> Float[Tensor, "*draw layer"]:
    return torch.nn.functional.cosine_similarity(one, other, dim=-1, eps=1e-30)


def cosine_matrix(
    contrasts: Sequence[Contrast], *, layer: int
) -> Float[np.ndarray, "contrast contrast"]:
    """Cosines between the directions of several contrasts at one layer.

    Raises:
        ValueError: If a contrast lacks the layer.
    """
    rows = []
    for contrast in contrasts:
        if layer not in contrast.layers:
            raise ValueError(f"layer {layer} is not among {contrast.layers}; collect it, too")
        rows.append(difference(contrast)[contrast.layers.index(layer)])
    unit = torch.nn.functional.normalize(torch.stack(rows), dim=-1)
    return np.asarray((unit @ unit.T).numpy())
