"""Turns scores or comparisons into a matplotlib figure, for notebooks and papers.

One panel a metric, one row a concept, one mark with its 95% interval a model. What the numbers mean
stands with the records; a report's pictures are drawn elsewhere in this room.
"""

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spillover.records import Comparison, Score
from spillover.report.drawing import COLOURS, GREY, drawing_settings, light_grid, rate_axis
from spillover.report.text import metric_name, words

Plotted = Score | Comparison
_MARKERS = ("s", "v", "D", "^", "P", "o", "X")


def plot(records: Iterable[Plotted], *, metric: str | None = None) -> Figure:
    """Return a figure of scores or comparisons, which a notebook shows and `savefig` keeps.

    Values that were not measured are left out, and so are intervals where there are none. Models,
    and judges and seeds where there are several, are told apart by colour and shape.

    Args:
        records: Scores or comparisons, of one kind.
        metric: The only metric to draw, such as `refusal_rate`; None for a panel of each.

    Raises:
        ValueError: If there is nothing to draw, or the records are of several kinds.

    Example:
        >>> score = Score(model="base", metric="refusal_rate", concept="bias", value=0.5, n=40,
        ...               ci_low=0.35, ci_high=0.65, judge="phrases", seed=0)
        >>> [axes.get_title(loc="left") for axes in plot([score]).axes]
        ['refusal rate']
    """
    rows = [row for row in records if metric in (None, row.metric)]
    kinds = sorted({type(row).__name__ for row in rows})
    if len(kinds) > 1:
        raise ValueError(f"records of kinds {' and '.join(kinds)}; plot one kind at a time")
    if not rows:
        named = "" if metric is None else f" of metric {metric!r}"
        raise ValueError(f"there are no records{named}; give scores or comparisons")
    labels = _labels(rows)
    series = list(dict.fromkeys(labels))
    metrics = list(dict.fromkeys(row.metric for row in rows))
    heights = [0.9 + 0.42 * len({r.concept for r in rows if r.metric == m}) for m in metrics]
    with drawing_settings("plot"):
        figure = Figure(figsize=(6.8, 0.4 + 0.12 * len(series) + sum(heights)))
        panels = figure.subplots(len(metrics), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, name in zip(panels, metrics, strict=True):
            own = [(row, s) for row, s in zip(rows, labels, strict=True) if row.metric == name]
            _draw(axes, own, series)
            axes.set_title(metric_name(name), loc="left", fontsize="medium")
        marks = dict(
            pair
            for axes in panels
            for pair in zip(*axes.get_legend_handles_labels()[::-1], strict=True)
        )
        if len(series) > 1 or isinstance(rows[0], Comparison):
            figure.legend(marks.values(), marks, loc="outside upper center", ncols=2)
    return figure


def _labels(rows: Sequence[Plotted]) -> list[str]:
    """Return what each record's series is called: its model, and what else there are several of."""
    judges = {row.judge for row in rows if isinstance(row, Score)}
    seeds = {row.seed for row in rows}
    found = []
    for row in rows:
        if isinstance(row, Score):
            parts = [words(row.model), *([words(row.judge)] if len(judges) > 1 else [])]
        else:
            parts = [f"{words(row.before)} to {words(row.after)}"]
        if len(seeds) > 1:
            parts.append("over seeds" if row.seed is None else f"seed {row.seed}")
        found.append(", ".join(parts))
    return found


def _draw(axes: Axes, rows: Sequence[tuple[Plotted, str]], series: Sequence[str]) -> None:
    """Draw one panel; the series of a row lie apart."""
    concepts = list(dict.fromkeys(row.concept for row, _ in rows))
    step = min(0.3, 0.62 / max(len(series) - 1, 1))
    named: set[str] = set()
    for row, label in rows:
        value = row.value if isinstance(row, Score) else row.delta
        if value is None:
            continue
        place = series.index(label)
        colour, marker = COLOURS[place % len(COLOURS)], _MARKERS[place % len(_MARKERS)]
        y = concepts.index(row.concept) + (place - (len(series) - 1) / 2) * step
        if row.ci_low is not None and row.ci_high is not None:
            axes.plot([row.ci_low, row.ci_high], [y, y], color=colour, linewidth=1.6)
        shown = "_nolegend_" if label in named else label
        axes.plot([value], [y], marker, color=colour, markersize=5.5, label=shown)
        named.add(label)
    axes.set_yticks(range(len(concepts)), [words(concept) for concept in concepts])
    axes.set_ylim(len(concepts) - 0.45, -0.55)
    _scale(axes, [row for row, _ in rows])


def _scale(axes: Axes, rows: Sequence[Plotted]) -> None:
    """Scores of rates lie on an axis from 0 to 1; changes have a line at 0."""
    if isinstance(rows[0], Comparison):
        axes.axvline(0, color=GREY, linewidth=1)
        axes.set_xlabel("change, with 95% interval")
        light_grid(axes, axis="x")
        return
    ends = [end for row in rows for end in (row.ci_low, row.ci_high) if end is not None]
    if all(0 <= end <= 1 for end in ends):
        rate_axis(axes, label="with 95% interval")
    else:
        axes.set_xlabel("with 95% interval")
        light_grid(axes, axis="x")
