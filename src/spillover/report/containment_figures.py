"""Draws what containments of one target keep of its unlearning against what they spare.

Numbers beside the marks are those of the table; colours tell nothing, as there are too many marks.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spillover.report import text
from spillover.report.containments import ContainmentResult
from spillover.report.drawing import BLUE, FAINT, GREY, ORANGE, draw_svg, light_grid
from spillover.report.pooling import Estimate


def containment_figures(results: Sequence[ContainmentResult]) -> dict[str, str]:
    """Return one picture as SVG for each target, by the name to file it under."""
    targets = dict.fromkeys(result.target for result in results)
    return {
        f"containments-{target}": containment_figure([r for r in results if r.target == target])
        for target in targets
    }


def containment_figure(results: Sequence[ContainmentResult]) -> str:
    """Draw recovery across and the effect on the target up, each with its interval.

    Args:
        results: Of one target, at least one.
    """

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.set_xlabel("recovery: share of the others' erosion that is gone")
        axes.set_ylabel("fall of refusals on the target")
        light_grid(axes, axis="both")
        axes.axvline(0, color=GREY, linewidth=0.8)
        for result in results:
            _mark(axes, result)

    target = results[0].target
    return draw_svg(
        draw, width=6.4, height=4.6, name=f"containments-{target}", label=_in_words(results)
    )


def _mark(axes: Axes, result: ContainmentResult) -> None:
    x, y = result.recovery.value, result.effect.value
    if x is None or y is None:
        return
    colour = BLUE if result.is_on_front else ORANGE
    _line(axes, result.recovery, at=y, colour=colour, is_flat=True)
    _line(axes, result.effect, at=x, colour=colour, is_flat=False)
    if result.is_on_front:
        axes.plot(x, y, marker="o", markersize=17, color=FAINT, zorder=1, linestyle="none")
    fill = colour if result.is_on_front else "white"
    axes.plot(x, y, marker="o", markersize=6, linestyle="none", color=colour, markerfacecolor=fill)
    axes.annotate(str(result.number), (x, y), xytext=(7, 6), textcoords="offset points", fontsize=9)


def _line(axes: Axes, estimate: Estimate, *, at: float, colour: str, is_flat: bool) -> None:
    if estimate.low is None or estimate.high is None:
        return
    ends, place = [estimate.low, estimate.high], [at, at]
    across, up = (ends, place) if is_flat else (place, ends)
    axes.plot(across, up, color=colour, linewidth=1, alpha=0.4)


def _in_words(results: Sequence[ContainmentResult]) -> str:
    parts = [
        f"{r.number} {text.words(r.title)}: recovery {text.number(r.recovery.value)}, "
        f"effect {text.number(r.effect.value)}{', on the front' if r.is_on_front else ''}"
        for r in results
    ]
    return f"Containments of {text.words(results[0].target)}. {'; '.join(parts)}."
