"""Turns estimates by layer, and matrices by concept, into matplotlib axes.

Draws only; what a figure means is said by the caption of the record that it shows.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from spillover.analysis.estimates import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_panels(n: int, *, width: float, height: float) -> "tuple[Figure, list[Axes]]":
    """Return a figure, in inches, with n panels below one another."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(n, 1, sharex=True, squeeze=False)[:, 0]
    return figure, list(panels)


def draw_band(
    axes: "Axes", layers: Sequence[float], values: Sequence[Estimate | None], *, label: str
) -> None:
    """Draw a line with its band; layers without a value are left open."""
    value, low, high = np.array(
        [(np.nan,) * 3 if e is None else (e.value, e.ci_low, e.ci_high) for e in values]
    ).T
    (line,) = axes.plot(layers, value, marker=".", label=label)
    axes.fill_between(layers, low, high, alpha=0.2, color=line.get_color(), linewidth=0)


def draw_matrix(
    axes: "Axes",
    values: Float[np.ndarray, "row column"],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    limit: float = 1.0,
) -> None:
    """Draw a matrix of cosines with its numbers, on a scale from -limit to limit."""
    axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    for (i, j), value in np.ndenumerate(values):
        pale = abs(value) < 0.6 * limit
        axes.text(
            j, i, f"{value:.2f}", ha="center", va="center", color="black" if pale else "white"
        )
