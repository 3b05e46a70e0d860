"""Turns the rows of a model's metrics.jsonl into pictures of its training.

Rows that carry a `seed` are averaged over seeds at each step, and the band is then from the lowest
to the highest seed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from spillover.report.drawing import (
    BLACK,
    BLUE,
    COLOURS,
    ORANGE,
    add_legend,
    draw_svg,
    light_grid,
)
from spillover.report.text import listing, words

_LOSSES = {
    "loss": ("total", BLACK, "-"),
    "forget_loss": ("forget", ORANGE, "--"),
    "retain_loss": ("retain", BLUE, ":"),
}
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A curve's value at one step, with its band where there is one."""

    step: int
    value: float
    low: float | None
    high: float | None


def curve(rows: Iterable[Row], *, key: str) -> tuple[Point, ...]:
    """Return the values under `key` by step; missing, NaN and infinite ones are left out.

    Args:
        rows: Rows of one kind, and of one concept where they have concepts.
        key: The field to follow.
    """
    by_step: dict[int, list[Row]] = {}
    for row in rows:
        value = row.get(key)
        if value is not None and isfinite(value):
            by_step.setdefault(row["step"], []).append(row)
    return tuple(_point(step, by_step[step], key) for step in sorted(by_step))


def _point(step: int, rows: Sequence[Row], key: str) -> Point:
    values = [row[key] for row in rows]
    mean = sum(values) / len(values)
    if len(values) > 1:
        return Point(step=step, value=mean, low=min(values), high=max(values))
    low, high = rows[0].get("ci_low"), rows[0].get("ci_high")
    return Point(step=step, value=mean, low=low, high=high)


def loss_curves(rows: Sequence[Row], *, model: str) -> str:
    """Loss along training: the total, and the forget and retain terms where they are logged."""
    train = [row for row in rows if row["kind"] == "train"]
    curves = {key: curve(train, key=key) for key in _LOSSES}

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        shown = {key: points for key, points in curves.items() if points}
        for key, points in shown.items():
            name, colour, dashes = _LOSSES[key]
            _line(axes, points, label=name, colour=colour, dashes=dashes)
        axes.set_ylabel("loss (nats)")
        axes.set_ylim(bottom=min([0.0, *(p.value for points in shown.values() for p in points)]))
        _step_axis(axes)
        if len(shown) > 1:
            add_legend(figure, location="outside upper center", columns=3)

    ends = [
        f"{_LOSSES[key][0]} from {p[0].value:.2f} to {p[-1].value:.2f}"
        for key, p in curves.items()
        if p
    ]
    return draw_svg(
        draw,
        width=5.0,
        height=3.5,
        name=f"loss-{model}",
        label=f"Training loss of {words(model)}: {listing(ends)}.",
    )


def drift_curves(
    rows: Sequence[Row], *, model: str, concepts: Sequence[str], metric: str = "first_token_kl"
) -> str:
    """First-token KL from the reference per concept along training (2511.14017, figure 2).

    Args:
        rows: The model's metrics; other kinds and metrics are passed over.
        model: The model's name.
        concepts: Their order; concepts that only the rows know follow.
        metric: Which monitored metric.
    """
    monitored = [row for row in rows if row["kind"] == "monitor" and row["metric"] == metric]
    names = list(dict.fromkeys([*concepts, *(row["concept"] for row in monitored)]))
    curves = {
        name: curve((row for row in monitored if row["concept"] == name), key="value")
        for name in names
    }
    shown = {name: points for name, points in curves.items() if points}
    target = model.partition("-")[2]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for place, name in enumerate(names):
            if name in shown:
                _line(
                    axes,
                    shown[name],
                    label=f"{words(name)} (target)" if name == target else words(name),
                    colour=COLOURS[place % len(COLOURS)],
                    dashes=_DASHES[place // len(COLOURS) % len(_DASHES)],
                    width=2.8 if name == target else 1.5,
                )
        axes.set_ylabel("first-token KL (nats)")
        axes.set_ylim(bottom=0)
        _step_axis(axes)
        _label_ends(axes, shown, names=names, target=target)

    ends = [f"{words(name)} {points[-1].value:.2f}" for name, points in shown.items()]
    return draw_svg(
        draw,
        width=5.4,
        height=3.7,
        name=f"drift-{model}",
        label=f"First-token KL of {words(model)} along training; at the end: {listing(ends)}.",
    )


def _line(
    axes: Axes,
    points: Sequence[Point],
    *,
    label: str,
    colour: str,
    dashes: Any,
    width: float = 1.5,
) -> None:
    steps = [point.step for point in points]
    axes.plot(
        steps,
        [point.value for point in points],
        color=colour,
        linestyle=dashes,
        linewidth=width,
        marker="o" if len(points) == 1 else None,
        label=label,
    )
    banded = [(p.step, p.low, p.high) for p in points if p.low is not None and p.high is not None]
    if banded:
        at, lows, highs = zip(*banded, strict=True)
        axes.fill_between(at, lows, highs, color=colour, alpha=0.1, linewidth=0)


def _label_ends(
    axes: Axes, curves: Mapping[str, Sequence[Point]], *, names: Sequence[str], target: str
) -> None:
    """Write each curve's name beside its end, moved apart where the ends are close."""
    bottom, top = axes.get_ylim()
    gap = (top - bottom) * 0.07
    last_step = max((points[-1].step for points in curves.values()), default=0)
    ends = sorted((points[-1].value, name) for name, points in curves.items())
    places = spread([value for value, _ in ends], gap=gap)
    for (value, name), y in zip(ends, places, strict=True):
        axes.annotate(
            f"{words(name)} (target)" if name == target else words(name),
            xy=(last_step, value),
            xytext=(12, y),
            textcoords=("offset points", "data"),
            va="center",
            color=COLOURS[names.index(name) % len(COLOURS)],
            fontweight="bold" if name == target else "normal",
            fontsize=9.5,
            annotation_clip=False,
        )


def spread(values: Sequence[float], *, gap: float) -> list[float]:
    """Move sorted values up, as little as in one pass, until neighbours are `gap` apart.

    The whole is then lowered by half of what its last value was raised.

    Example:
        >>> spread([0.0, 1.0, 1.0], gap=1.0)
        [-0.5, 0.5, 1.5]
    """
    placed: list[float] = []
    for value in values:
        placed.append(value if not placed else max(value, placed[-1] + gap))
    if not placed:
        return []
    lowered = (placed[-1] - values[-1]) / 2
    return [place - lowered for place in placed]


def _step_axis(axes: Axes) -> None:
    axes.set_xlabel("optimizer step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    light_grid(axes, axis="y")
