"""Turns phase changes and behaviour along training into matplotlib figures, nulls beside them.

Draws only; what a figure means is said where it is shown.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from spillover.analysis.estimates import Estimate
from spillover.analysis.layer_plots import draw_band, new_panels
from spillover.analysis.phase_changes import PhaseChanges

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NULL = "#767676"


def _mark_change(axes: "Axes", found: PhaseChanges) -> None:
    """Shade the change point's interval, where a random walk would have none."""
    if found.change_step is not None and found.change_interval is not None:
        axes.axvspan(*found.change_interval, color="#E69F00", alpha=0.2, linewidth=0)
        axes.axvline(found.change_step, color="#E69F00", linewidth=1.2)


def _with_gaps(values: Sequence[float | None]) -> list[float]:
    return [np.nan if value is None else value for value in values]


def plot_rotations(paths: Sequence[PhaseChanges]) -> "Figure":
    """Local cosine along training: one panel a path, one line for each k."""
    figure, panels = new_panels(len(paths), width=6.8, height=0.8 + 1.9 * len(paths))
    for axes, found in zip(panels, paths, strict=True):
        _mark_change(axes, found)
        for rotation in found.rotations:
            axes.plot(found.steps, _with_gaps(rotation.cosines), label=f"k = {rotation.k}")
        axes.axhline(0, color=_NULL, linewidth=0.8, linestyle=":")
        axes.set_ylim(-1.05, 1.05)
        axes.set_ylabel("local cosine")
        axes.set_title(found.name, fontsize="medium", parse_math=False)
    panels[0].legend(ncols=3, fontsize="small", loc="upper right")
    panels[-1].set_xlabel("optimizer step")
    return figure


def plot_principal_paths(paths: Sequence[PhaseChanges]) -> "Figure":
    """Each path in the plane of its first two principal components, dark where it ends."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.5 * len(paths), 3.4), layout="constrained")
    for axes, found in zip(figure.subplots(1, len(paths), squeeze=False)[0], paths, strict=True):
        scores = np.array(found.principal)
        second = scores[:, 1] if scores.shape[1] > 1 else np.zeros(len(scores))
        axes.plot(scores[:, 0], second, color=_NULL, linewidth=0.6)
        axes.scatter(scores[:, 0], second, c=found.steps, cmap="cividis_r", s=14, zorder=2)
        if found.change is not None and found.change_step is not None:
            at = found.change.place
            axes.plot(
                scores[at, 0],
                second[at],
                marker="o",
                markersize=11,
                fillstyle="none",
                color="#D55E00",
            )
        shares = [f"{100 * share:.0f}%" for share in found.principal_shares] + ["0%"]
        nulls = [f"{100 * share:.0f}%" for share in found.random_walk_shares] + ["0%"]
        axes.set_xlabel(f"component 1: {shares[0]} (walk: {nulls[0]})")
        axes.set_ylabel(f"component 2: {shares[1]} (walk: {nulls[1]})")
        axes.set_title(found.name, fontsize="medium", parse_math=False)
    return figure


def plot_growth(found: PhaseChanges, gradient_norms: Sequence[tuple[int, float]] = ()) -> "Figure":
    """Length of the weights, how far along its final direction the path is, and gradient norms.

    Args:
        found: One path.
        gradient_norms: Step and norm, in order; none for no third panel.
    """
    n = 3 if gradient_norms else 2
    figure, panels = new_panels(n, width=6.8, height=0.8 + 1.7 * n)
    for axes in panels:
        _mark_change(axes, found)
    panels[0].plot(found.steps, _with_gaps(found.norms))
    panels[0].set_ylabel("length")
    panels[1].plot(found.steps, _with_gaps(found.final_cosines), label=found.name)
    panels[1].plot(
        found.steps,
        _with_gaps(found.random_walk_cosines),
        color=_NULL,
        linestyle="--",
        label="random walk",
    )
    panels[1].set_ylabel("cosine with\nfinal direction")
    panels[1].legend(fontsize="small", loc="lower right")
    if gradient_norms:
        panels[2].plot(*zip(*gradient_norms, strict=True))
        panels[2].set_ylabel("gradient norm")
    panels[-1].set_xlabel("optimizer step")
    return figure


def plot_behaviours(
    curves: Sequence[tuple[str, Sequence[int], Sequence[Estimate | None]]],
    *,
    label: str,
    phases: PhaseChanges | None = None,
) -> "Figure":
    """Behaviour along training, one line for each adapter scale, with its bands.

    Args:
        curves: Name, steps and estimates of each.
        label: What is measured, with its unit.
        phases: The path whose change point is marked.
    """
    figure, (axes,) = new_panels(1, width=6.8, height=3.2)
    if phases is not None:
        _mark_change(axes, phases)
    for name, steps, values in curves:
        draw_band(axes, list(steps), values, label=name)
    axes.set_ylabel(label)
    axes.set_xlabel("optimizer step")
    axes.legend(fontsize="small")
    return figure
