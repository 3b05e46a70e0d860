"""Turns a drawing function into an SVG string that is the same on every machine and every day.

Text stays text; names of concepts and models are never read as mathematics. Colours are those of
Okabe and Ito (https://jfly.uni-koeln.de/color/), less the yellow, which is too pale on white.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spillover.report.text import visible

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
AMBER, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#222222", "#767676"
INK, FAINT = "#333333", "#dddddd"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY, BLACK)

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    # Shipped with matplotlib, and wide: a reader's own font fits where this one did.
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
_FONTS = "'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, kw_only=True)
class Style:
    """How one model is drawn; shape and fill tell models apart without colour."""

    colour: str
    marker: str
    hollow: bool = False
    dashes: str | tuple[float, tuple[float, ...]] = "-"

    @property
    def fill(self) -> str:
        """The marker's inside."""
        return "white" if self.hollow else self.colour


_MODEL_STYLES = (
    Style(colour=GREY, marker="o", hollow=True, dashes=":"),
    Style(colour=BLUE, marker="s"),
    Style(colour=ORANGE, marker="v"),
    Style(colour=GREEN, marker="D", dashes="--"),
    Style(colour=PURPLE, marker="^", dashes="-."),
    Style(colour=BLACK, marker="P", dashes=":"),
)
_ROLES = {"base": 0, "aligned": 1, "unlearned": 2, "contained": 3}


def model_style(model: str, *, index: int) -> Style:
    """Return the style of a model: by its role where the name tells it, else by its place."""
    place = _ROLES.get(model.split("-")[0], 4 + index)
    return _MODEL_STYLES[place if place < 4 else 4 + place % 2]


def draw_svg(
    draw: Callable[[Figure], None], *, width: float, height: float, name: str, label: str
) -> str:
    """Draw on a fresh figure and return it as one `<svg>` element.

    Args:
        draw: Puts axes on the figure.
        width: In inches.
        height: In inches.
        name: Prefix of all ids, so that several figures can share a page.
        label: What the picture shows, for readers who do not see it.
    """
    with drawing_settings(name):
        figure = Figure(figsize=(width, height))
        draw(figure)
        return figure_svg(figure, name=name, label=label)


@contextmanager
def drawing_settings(name: str) -> Iterator[None]:
    """Draw in the report's style inside; `name` seeds the ids of an SVG."""
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": name}), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn by the browser's font.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def figure_svg(figure: Figure, *, name: str, label: str) -> str:
    """Return a figure as one `<svg>` element; call it inside `drawing_settings(name)`."""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=nothing)
    return _embeddable(stream.getvalue(), name=name, label=label)


def _embeddable(svg: str, *, name: str, label: str) -> str:
    """Drop the prolog, make ids unique to the figure, and say what the picture shows."""
    svg = svg[svg.index("<svg ") :]
    prefix = re.sub(r"[^A-Za-z0-9]+", "-", name)
    svg = re.sub(r'(\sid="|"#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = svg.replace("'DejaVu Sans'", _FONTS)
    spoken = escape(visible(label), quote=True)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{spoken}" ', 1).strip()


def rate_axis(axes: Axes, *, label: str) -> None:
    """Make the x axis a rate from 0 to 1 with light vertical lines."""
    axes.set_xlim(-0.03, 1.03)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_xlabel(label)
    light_grid(axes, axis="x")


def light_grid(axes: Axes, *, axis: str) -> None:
    """Draw faint lines behind the data and drop the ticks."""
    axes.grid(axis=axis, color=FAINT, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def add_legend(
    figure: Figure,
    *,
    location: Literal["outside upper center", "outside lower center"],
    columns: int = 2,
) -> None:
    """Put one legend outside the axes, such as `outside upper center`, if anything has a name."""
    if any(axes.get_legend_handles_labels()[0] for axes in figure.axes):
        figure.legend(loc=location, ncols=columns, handletextpad=0.6, columnspacing=1.6)
