"""Turns named estimates into one figure: a dot and its interval a row, and a line for the null."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spillover.analysis.estimates import Estimate
from spillover.analysis.layer_plots import new_panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_estimates(
    rows: Sequence[tuple[str, Estimate | None]],
    *,
    label: str,
    null: float | None = None,
    bands: Sequence[tuple[float, float] | None] = (),
) -> "Figure":
    """Draw estimates below one another, the first on top; a row without a value stays empty.

    Args:
        rows: Names and estimates.
        label: What is measured, with its unit.
        null: Where the vertical line goes; None for none.
        bands: What each row's null covers, drawn in grey behind it; one a row, or none at all.
    """
    figure, (axes,) = new_panels(1, width=6.4, height=1.1 + 0.32 * len(rows))
    for place, band in enumerate(bands):
        if band is not None:
            axes.plot(band, [place, place], color="#bbbbbb", linewidth=7, solid_capstyle="butt")
    for place, (_, estimate) in enumerate(rows):
        if estimate is not None:
            axes.plot([estimate.ci_low, estimate.ci_high], [place, place], color="#0072B2")
            axes.plot(estimate.value, place, marker="o", color="#0072B2")
    if null is not None:
        axes.axvline(null, color="#767676", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(label)
    return figure
