"""Turns a sweep's rows into its answer: what the strongest effect costs, and which costs least.

A point is called gentler than another only where the intervals of their erosion part.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from spillover.report.pooling import Estimate
from spillover.report.text import change_with_interval, visible, words

ENOUGH = 0.5
"Share of the strongest effect from which a point counts as doing what it is for."


@runtime_checkable
class Point(Protocol):
    """What of a row of a sweep is told."""

    @property
    def number(self) -> int:
        """Its number in the table."""

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """Keys of the grid and their values."""

    @property
    def model(self) -> str:
        """The changed model's name."""

    @property
    def effect(self) -> Estimate:
        """What the change did to its target."""

    @property
    def erosion(self) -> Estimate:
        """What it did to the other concepts."""


def sweep_answer(rows: Sequence[Point], *, what: str) -> str:
    """Return what the strongest effect costs, and which row does half as much for the least.

    Args:
        rows: All rows of one target.
        what: The effect in words, such as `fall of refusals on the target`.
    """
    known = [
        (row.effect.value, row.erosion.value, row)
        for row in rows
        if row.effect.value is not None and row.erosion.value is not None
    ]
    if not known:
        return "Effect and erosion were measured together on no row, so none can be preferred."
    strongest, _, first = max(known, key=lambda found: found[0])
    told = (
        f"The strongest effect ({what}) is {_with_interval(first.effect)}, of {_name(first)}; it "
        f"costs the other concepts {_with_interval(first.erosion)} on average."
    )
    if strongest <= 0:
        return f"{told} No row has the effect that it is for."
    enough = [found for found in known if found[0] >= ENOUGH * strongest]
    gentlest = min(enough, key=lambda found: found[1])[2]
    if gentlest is first:
        return f"{told} No row with at least half of that effect costs less."
    return (
        f"{told} Of the rows with at least half of that effect the one that costs least is "
        f"{_name(gentlest)}: effect {_with_interval(gentlest.effect)}, cost "
        f"{_with_interval(gentlest.erosion)}; {_apart(gentlest.erosion, first.erosion)}"
    )


def _with_interval(found: Estimate) -> str:
    return change_with_interval(found.value, found.low, found.high)


def _name(row: Point) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in row.settings)
    return f"no. {row.number} ({words(row.model)}{', ' if settings else ''}{visible(settings)})"


def _apart(gentle: Estimate, other: Estimate) -> str:
    if gentle.high is None or other.low is None:
        return "without intervals over seeds, another seed may say otherwise."
    if gentle.high < other.low:
        return "the intervals of the two costs do not overlap."
    return "the intervals of the two costs overlap, so which costs less is undecided."
