"""Turns the comparison of two runs into one self-contained HTML page, its picture and its numbers.

Model output goes the way of the audit's page: as JSON in which no tag can begin, put on the page as
text by the page's one script.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from spillover.report.audit_findings import ROW_CHANGES
from spillover.report.downloads import saved
from spillover.report.drawing import BLUE, GREY, ORANGE, add_legend, draw_svg, light_grid
from spillover.report.page import page_environment
from spillover.report.rows_script import answer_row, row_browser
from spillover.report.run_comparison import (
    RunAnswer,
    RunComparison,
    RunDifference,
    comparison_answer,
)
from spillover.report.text import change_with_interval, metric_name, words

_STYLES = {
    "lower": (ORANGE, "v"),
    "higher": (BLUE, "^"),
    "no difference shown": (GREY, "o"),
}


def render_comparison(found: RunComparison, answers: Sequence[RunAnswer]) -> str:
    """Return the page; the same inputs give the same page, byte for byte.

    Args:
        found: What the comparison says.
        answers: What each model said in both runs, side by side.
    """
    figures = comparison_figures(found)
    return (
        page_environment()
        .get_template("compare.html.j2")
        .render(
            found=found,
            answer=comparison_answer(found),
            figures={name: Markup(svg) for name, svg in figures.items()},
            downloads=saved(figures, comparison_tables(found)),
            changes=ROW_CHANGES,
            **row_browser([answer_row(row) for row in answers]),
        )
    )


def comparison_tables(found: RunComparison) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Return the rows behind each picture."""
    return {
        f"differences-{model}": [row.to_dict() for row in found.of(model)] for model in found.models
    }


def comparison_figures(found: RunComparison) -> dict[str, str]:
    """Return `differences-<model>` of every model as SVG: each rate, the second less the first."""
    ends = [abs(end) for row in found.rows for end in (row.ci_low, row.ci_high) if end is not None]
    limit = 1.05 * max([0.1, *ends])
    return {
        f"differences-{model}": difference_picture(found.of(model), model=model, limit=limit)
        for model in found.models
    }


def row_name(row: RunDifference) -> str:
    """Return what a row is about: a concept, or another measure with it."""
    if row.metric == "refusal_rate":
        return words(row.concept)
    if row.metric == "capability":
        return "capability"
    return f"{metric_name(row.metric)}: {words(row.concept.removeprefix('benign_'))}"


def difference_picture(rows: Sequence[RunDifference], *, model: str, limit: float = 1.0) -> str:
    """Draw each difference of one model with its interval.

    Args:
        rows: The model's rows.
        model: Its name.
        limit: The axis goes from minus this to this; the same for all of a page's pictures.
    """

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        named: set[str] = set()
        for place, row in enumerate(rows):
            if row.delta is None or row.ci_low is None or row.ci_high is None:
                continue
            colour, marker = _STYLES[row.shift]
            axes.plot([row.ci_low, row.ci_high], [place, place], color=colour, linewidth=2)
            label = None if row.shift in named else row.shift
            named.add(row.shift)
            fill = colour if row.is_paired else "white"
            axes.plot([row.delta], [place], marker, color=colour, mfc=fill, ms=7, label=label)
        axes.axvline(0, color=GREY, linewidth=1)
        axes.set_yticks(range(len(rows)), [row_name(row) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(-limit, limit)
        axes.set_xlabel("second run less first run")
        light_grid(axes, axis="x")
        add_legend(figure, location="outside upper center", columns=3)

    said = [
        f"{row_name(row)} {change_with_interval(row.delta, row.ci_low, row.ci_high)}"
        for row in rows
    ]
    return draw_svg(
        draw,
        width=7.2,
        height=1.3 + 0.36 * max(1, len(rows)),
        name=f"differences-{model}",
        label=f"Differences of {words(model)} between the two runs. {'; '.join(said)}.",
    )
