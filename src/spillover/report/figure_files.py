"""Turns a function that makes a matplotlib figure into an SVG for pages and a PDF for papers."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.figure import Figure

from spillover.report.drawing import COLOURS, drawing_settings, figure_svg

_SETTINGS: dict[Any, Any] = {
    "pdf.fonttype": 42,  # Text that can be searched.
    "axes.prop_cycle": cycler(color=COLOURS),
}


@dataclass(frozen=True, kw_only=True)
class RenderedFigure:
    """One figure in two formats, the same on every machine and every day."""

    svg: str
    "One `<svg>` element that can stand in a page."
    pdf: bytes


def render_figure(make: Callable[[], Figure], *, name: str, label: str) -> RenderedFigure:
    """Make a figure in the report's style and return it as SVG and PDF.

    Args:
        make: Makes the figure; called once, inside the style.
        name: Prefix of all ids, so that several figures can share a page.
        label: What the picture shows, for readers who do not see it.
    """
    with drawing_settings(name), mpl.rc_context(_SETTINGS):
        figure = make()
        svg = figure_svg(figure, name=name, label=label)
        stream = io.BytesIO()
        nothing = dict.fromkeys(("Creator", "Producer", "CreationDate"))
        figure.savefig(stream, format="pdf", metadata=nothing)
    return RenderedFigure(svg=svg, pdf=stream.getvalue())
