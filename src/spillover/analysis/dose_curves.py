"""Turns a direction and some strengths into what a model does at each, with the damage beside it.

At each strength the direction is added and every probe asked; random directions of the same length
at the same layers are the null. Everything is compared, item by item, with the model as it is. The
model is loaded once, and layers below the direction run once for each prompt, whatever the number
of strengths and random directions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from spillover.analysis.estimate_columns import estimate_columns
from spillover.analysis.estimates import Estimate
from spillover.analysis.interventions import (
    Effect,
    Intervention,
    Probe,
    Resampling,
    Scores,
    effect,
    probe_scores,
)
from spillover.analysis.layer_plots import draw_band
from spillover.analysis.nulls import permutation_p, random_directions
from spillover.models.directions import Direction
from spillover.models.loading import LoadedModel
from spillover.models.lower_layers import lower_layers_once
from spillover.models.steering import Units, add_direction
from spillover.records import Record

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class DosePoint(Record):
    """One measure at one strength."""

    strength: float
    measure: str
    n: int
    "Items with a value."
    n_without: int
    "Items without one, such as invalid verdicts."
    value: Estimate | None
    "None where no item has a value."
    change: Estimate | None
    "From strength 0, on the same items; None at strength 0."
    random_values: tuple[float, ...] = ()
    "The mean under each random direction of the same length."
    p_random: float | None = None
    "P(a random direction changes the mean as much), two-sided; None without random directions."


@dataclass(frozen=True, kw_only=True)
class DoseCurve(Record):
    """What adding a direction does, by strength."""

    direction: str
    layers: tuple[int, ...]
    units: Units
    relative_norm: float | None
    "Length of the direction in mean activation norms; None where that was not measured."
    n_random: int
    points: tuple[DosePoint, ...] = field(repr=False)

    @property
    def measures(self) -> list[str]:
        """Names of what was measured, in order."""
        return list(dict.fromkeys(point.measure for point in self.points))

    def of(self, measure: str) -> list[DosePoint]:
        """Return one measure's points by strength."""
        return sorted((p for p in self.points if p.measure == measure), key=lambda p: p.strength)

    @property
    def caption(self) -> str:
        """What the figure shows."""
        unit = "mean activation norms" if self.units == "activation_norm" else "its own length"
        null = (
            f"Grey: {self.n_random} random directions of the same length, lowest to highest mean. "
            if self.n_random
            else ""
        )
        places = ", ".join(str(layer) for layer in self.layers)
        return (
            f"The direction {self.direction!r} added at layer {places}, strengths in multiples of "
            f"{unit}; bands are 95% intervals over items. {null}"
            "A behaviour that changes only where text and answers also become unlikely is damage."
        )

    def to_frame(self) -> "pd.DataFrame":
        """Return one row for each measure and strength."""
        import pandas as pd

        rows = []
        for measure in self.measures:
            for point in self.of(measure):
                null = point.random_values
                row: dict[str, Any] = {"measure": measure, "strength": point.strength}
                row |= {"n": point.n, "n_without": point.n_without}
                row |= estimate_columns("value", point.value)
                row |= estimate_columns("change", point.change)
                row["random_low"] = min(null) if null else None
                row["random_high"] = max(null) if null else None
                row["p_random"] = point.p_random
                rows.append(row)
        return pd.DataFrame(rows)

    def draw(self, figure: "Figure") -> None:
        """Draw one panel a measure on an empty figure, two in a row."""
        rows = (len(self.measures) + 1) // 2
        panels = figure.subplots(rows, 2, squeeze=False, sharex=True).flatten()
        for axes, measure in zip(panels, self.measures, strict=False):
            self._draw_measure(axes, measure)
        for axes in panels[len(self.measures) :]:
            axes.set_visible(False)
        figure.supxlabel(f"strength of {self.direction}")

    def _draw_measure(self, axes: "Axes", measure: str) -> None:
        points = self.of(measure)
        strengths = [point.strength for point in points]
        if any(point.random_values for point in points):
            axes.fill_between(
                strengths, *_null_band(points), color="#bbbbbb", linewidth=0, label="random"
            )
        values = [point.value for point in points]
        draw_band(axes, strengths, values, label=self.direction)
        axes.set_title(measure, fontsize="medium", parse_math=False)
        if all(v is None or (v.ci_low >= 0 and v.ci_high <= 1) for v in values):
            axes.set_ylim(-0.03, 1.03)

    def plot(self) -> "Figure":
        """Return the figure."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=self.size, layout="constrained")
        self.draw(figure)
        return figure

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the figure in inches."""
        return 7.0, 0.6 + 2.1 * ((len(self.measures) + 1) // 2)


def _null_band(points: Sequence[DosePoint]) -> tuple[list[float], list[float]]:
    """Lowest and highest mean of random directions; at strength 0 the value itself."""
    own = [(p.value.value,) if p.value is not None else (math.nan,) for p in points]
    shown = [p.random_values or value for p, value in zip(points, own, strict=True)]
    return [min(values) for values in shown], [max(values) for values in shown]


def dose_curve(
    loaded: LoadedModel,
    directions: Direction | Sequence[Direction],
    *,
    strengths: Sequence[float],
    probes: Sequence[Probe],
    generator: torch.Generator,
    resampling: Resampling,
    units: Units = "activation_norm",
    layers: Sequence[int] | None = None,
    n_random: int = 0,
    null_probes: Sequence[Probe] | None = None,
) -> DoseCurve:
    """Add a direction at several strengths and ask all probes at each.

    Args:
        loaded: The model; as it was afterwards.
        directions: One, or one a layer that are added together.
        strengths: Negative ones go the other way; 0 need not be given.
        probes: What is asked. Give the damage beside the effect: `behaviour_probes`. A probe that
            edits layers below the direction itself has no place here: they may be skipped.
        generator: Draws the random directions.
        resampling: How intervals are made.
        units: Of the strengths, as in `add_direction`.
        layers: Where it is added instead of its own layer.
        n_random: Random directions of the same length, at the same places, at every strength;
            p cannot fall below 1 / (n_random + 1).
        null_probes: What is asked under random directions; None for all probes. Generating is
            slow, so that log-odds alone may do.

    Raises:
        ValueError: If no strength is different from 0, or strengths are relative to an activation
            norm that is unknown.
    """
    chosen = [directions] if isinstance(directions, Direction) else list(directions)
    wanted = sorted({float(strength) for strength in strengths} - {0.0})
    if not wanted or not chosen:
        raise ValueError(
            f"{len(chosen)} directions and strengths {list(strengths)}; give at least one "
            "direction and one strength other than 0"
        )
    drawn = [_random_like(chosen, generator) for _ in range(n_random)]
    with lower_layers_once(
        loaded.model, loaded.architecture, below=_first_edited(loaded, chosen, layers)
    ):
        own = probe_scores(loaded, probes)
        asked = probes if null_probes is None else null_probes
        points = [
            _point(
                0.0,
                effect(measure, values, before=None, intervention="none", resampling=resampling),
            )
            for measure, values in own.items()
        ]
        for strength in wanted:
            found = probe_scores(loaded, probes, _adding(chosen, strength, units, layers))
            null = [probe_scores(loaded, asked, _adding(d, strength, units, layers)) for d in drawn]
            for measure, values in found.items():
                one = effect(
                    measure,
                    values,
                    before=own[measure],
                    intervention="add",
                    resampling=resampling,
                )
                points.append(_point(strength, one, null=null, own=own))
    places = {d.layer for d in chosen} if layers is None else set(layers)
    return DoseCurve(
        direction=chosen[0].name,
        layers=tuple(sorted(places)),
        units=units,
        relative_norm=chosen[0].relative_norm if len(chosen) == 1 else None,
        n_random=n_random,
        points=tuple(points),
    )


def _first_edited(
    loaded: LoadedModel, directions: Sequence[Direction], layers: Sequence[int] | None
) -> int:
    """Return the lowest layer of which anything but the last output is edited."""
    n_layers = loaded.architecture.n_layers
    return min(
        layer % n_layers + (direction.site == "resid_post")
        for direction in directions
        for layer in ([direction.layer] if layers is None else layers)
    )


def _adding(
    directions: Sequence[Direction], strength: float, units: Units, layers: Sequence[int] | None
) -> Intervention:
    return Intervention(
        f"add {strength}",
        lambda loaded: add_direction(
            loaded.model,
            loaded.architecture,
            directions,
            strength=strength,
            units=units,
            layers=layers,
        ),
    )


def _random_like(directions: Sequence[Direction], generator: torch.Generator) -> list[Direction]:
    """Return random directions as long as these, at the same places."""
    return [random_like(direction, generator=generator) for direction in directions]


def random_like(direction: Direction, *, generator: torch.Generator) -> Direction:
    """Return a uniformly random direction with the same length at the same place."""
    drawn = random_directions(1, d_model=len(direction.vector), generator=generator)[0]
    return direction.with_vector(drawn.float() * direction.norm, name="random")


def _point(
    strength: float, found: Effect, *, null: Sequence[Scores] = (), own: Scores | None = None
) -> DosePoint:
    drawn = [scores[found.measure] for scores in null if found.measure in scores]
    means = tuple(_known_mean(values) for values in drawn)
    p = None
    if means and own is not None and found.change is not None:
        changes = np.array(means) - _known_mean(own[found.measure])
        p = float(permutation_p(found.change.value, changes))
    return DosePoint(
        strength=strength,
        measure=found.measure,
        n=found.n,
        n_without=found.n_without,
        value=found.value,
        change=found.change,
        random_values=means,
        p_random=p,
    )


def _known_mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")
