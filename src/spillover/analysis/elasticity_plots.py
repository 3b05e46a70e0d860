"""Turns resistance and rebound into matplotlib figures. Draws only."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spillover.analysis.elasticity import Rebound, ReboundCurve, ResistanceCell
from spillover.analysis.layer_plots import new_panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NULL = "#767676"


def plot_resistance(cells: Sequence[ResistanceCell]) -> "Figure":
    """Forward minus inverse training for each pair of slices; one dot a seed."""
    measures = {
        "loss": [cell.raw for cell in cells],
        "loss above\nentropy": [cell.corrected for cell in cells],
        "KL moved": [cell.moved for cell in cells],
    }
    pairs = sorted({(cell.early, cell.late) for cell in cells})
    figure, panels = new_panels(3, width=6.4, height=5.6)
    for axes, (name, values) in zip(panels, measures.items(), strict=True):
        axes.axhline(0, color=_NULL, linewidth=0.8)
        for cell, value in zip(cells, values, strict=True):
            place = pairs.index((cell.early, cell.late)) + 0.06 * (cell.seed % 5 - 2)
            axes.plot(place, value, marker="o", color="#0072B2", linestyle="none")
        axes.set_ylabel(name)
    panels[-1].set_xticks(range(len(pairs)), [f"slices {i}, {j}" for i, j in pairs])
    panels[0].set_title("forward - inverse, nats a token; above 0 is resistance", fontsize="medium")
    return figure


def plot_rebounds(
    curves: Sequence[ReboundCurve], rebounds: Sequence[Rebound], *, score: str
) -> "Figure":
    """Score and distance to the base against negative examples; one colour a positive number.

    Args:
        curves: All runs.
        rebounds: The same runs described, in the same order; their knees are marked.
        score: What the score is, with its unit.
    """
    figure, (upper, lower) = new_panels(2, width=6.8, height=5.2)
    numbers = sorted({curve.n_positive for curve in curves})
    shades = {n: 0.25 + 0.65 * i / max(1, len(numbers) - 1) for i, n in enumerate(numbers)}
    named: set[int] = set()
    from matplotlib import colormaps

    for curve, found in zip(curves, rebounds, strict=True):
        colour = colormaps["cividis_r"](shades[curve.n_positive])
        name = f"{curve.n_positive} positive" if curve.n_positive not in named else None
        named.add(curve.n_positive)
        upper.plot(curve.n_negative, curve.score, color=colour, label=name, linewidth=1.2)
        upper.plot(found.knee.knee, found.knee.value, marker="o", color=colour, markersize=5)
        lower.plot(curve.n_negative, curve.distance, color=colour, linewidth=1.2)
    lower.axhline(rebounds[0].threshold, color=_NULL, linewidth=0.8, linestyle=":")
    highest = max(max(curve.distance) for curve in curves)
    lower.set_ylim(0, 1.05 * highest if highest > 0 else 1)
    upper.set_ylabel(score)
    lower.set_ylabel("KL from base,\nnats a token")
    lower.set_xlabel("negative examples")
    upper.legend(fontsize="small")
    return figure
