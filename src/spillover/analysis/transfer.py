"""Turns directions and organisms into a matrix: whose direction, ablated in whom, removes what.

Each direction is ablated in each organism, and the share of the organism's misalignment that goes
is reported with what happens to its coherence (2506.11618, section 3.3). Organisms are loaded one
at a time. Random directions are the null, organism by organism.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from spillover.analysis.dose_curves import random_like
from spillover.analysis.estimate_columns import estimate_columns
from spillover.analysis.estimates import Estimate, bootstrap_estimate
from spillover.analysis.interventions import (
    Effect,
    Intervention,
    Probe,
    Resampling,
    Scores,
    effect,
    probe_scores,
)
from spillover.analysis.layer_plots import draw_matrix
from spillover.analysis.resamples import example_counts
from spillover.models.directions import Direction
from spillover.models.loading import LoadedModel
from spillover.models.steering import ablate_directions
from spillover.records import Record

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class TransferCell(Record):
    """One direction ablated in one organism."""

    source: str
    "Whose direction it is."
    target: str
    "The organism in which it was ablated."
    removed: Estimate | None
    "Share of the target's misalignment that went; None where it had none to speak of."
    random_removed: tuple[float, ...]
    "The same for each random direction."
    effects: tuple[Effect, ...]
    "Every measure in the target under the ablation, misalignment and coherence among them."


@dataclass(frozen=True, kw_only=True)
class TransferMatrix(Record):
    """Directions by organisms."""

    measure: str
    "What misalignment is measured by."
    cells: tuple[TransferCell, ...] = field(repr=False)

    @property
    def sources(self) -> list[str]:
        """Whose directions, in order."""
        return list(dict.fromkeys(cell.source for cell in self.cells))

    @property
    def targets(self) -> list[str]:
        """The organisms, in order."""
        return list(dict.fromkeys(cell.target for cell in self.cells))

    def to_frame(self) -> "pd.DataFrame":
        """Return one row for each cell and measure."""
        import pandas as pd

        rows = []
        for cell in self.cells:
            head: dict[str, Any] = {"source": cell.source, "target": cell.target}
            head |= estimate_columns("removed", cell.removed)
            null = cell.random_removed
            head |= {"random_low": min(null, default=None), "random_high": max(null, default=None)}
            for one in cell.effects:
                row = head | {"measure": one.measure, "n": one.n, "n_without": one.n_without}
                row |= estimate_columns("value", one.value)
                rows.append(row | estimate_columns("change", one.change))
        return pd.DataFrame(rows)

    def plot(self) -> "Figure":
        """Draw the shares removed, directions in rows and organisms in columns."""
        from matplotlib.figure import Figure

        values = np.full((len(self.sources), len(self.targets)), np.nan)
        for cell in self.cells:
            if cell.removed is not None:
                at = self.sources.index(cell.source), self.targets.index(cell.target)
                values[at] = cell.removed.value
        figure = Figure(figsize=(2.5 + len(self.targets), 2 + 0.5 * len(self.sources)))
        figure.set_layout_engine("constrained")
        axes = figure.add_subplot()
        draw_matrix(axes, values, rows=self.sources, columns=self.targets)
        axes.set_ylabel("direction of")
        axes.set_xlabel("ablated in")
        return figure


def transfer_matrix(
    organisms: Mapping[str, Callable[[], LoadedModel]],
    directions: Mapping[str, Sequence[Direction]],
    *,
    probes: Sequence[Probe],
    measure: str,
    reference: Callable[[], LoadedModel],
    generator: torch.Generator,
    resampling: Resampling,
    layerwise: bool = False,
    n_random: int = 5,
) -> TransferMatrix:
    """Ablate every direction in every organism.

        removed = (m(organism) - m(ablated)) / (m(organism) - m(reference))

    with m the mean of the misalignment measure over items. 1 takes it back to the reference, less
    than 0 adds to it. Intervals are percentiles of a bootstrap over items, the same draw for all
    three models.

    Args:
        organisms: How to load each, by name.
        directions: For each source its direction, or one a layer.
        probes: What is asked of every model; give coherence beside misalignment.
        measure: The name of the misalignment measure among what the probes give.
        reference: How to load the model without the organisms' training.
        generator: Draws the random directions.
        resampling: How intervals are made.
        layerwise: Ablate each direction at its own layer only; needs one a layer. Otherwise a
            source's directions, perhaps one, are ablated as one subspace from every layer.
        n_random: Random directions an organism, in place of the first source's.

    Raises:
        ValueError: If there are no organisms or directions, or no probe gives the measure.
    """
    if not organisms or not directions:
        raise ValueError(f"{len(organisms)} organisms and {len(directions)} directions; give both")
    zero = _required(probe_scores(reference(), probes), measure)
    first = next(iter(directions.values()))
    drawn = [[random_like(d, generator=generator) for d in first] for _ in range(n_random)]
    cells = []
    for target, load in organisms.items():
        loaded = load()
        own = probe_scores(loaded, probes)
        full = _required(own, measure)

        def ablated(chosen: Sequence[Direction], *, of: LoadedModel = loaded) -> Scores:
            return probe_scores(of, probes, _ablating(chosen, layerwise=layerwise))

        null = [_removed(full, ablated(d)[measure], zero, resampling=resampling) for d in drawn]
        for source, chosen in directions.items():
            scores = ablated(chosen)
            cells.append(
                TransferCell(
                    source=source,
                    target=target,
                    removed=_removed(full, scores[measure], zero, resampling=resampling),
                    random_removed=tuple(e.value for e in null if e is not None),
                    effects=_effects(scores, own, source=source, resampling=resampling),
                )
            )
    return TransferMatrix(measure=measure, cells=tuple(cells))


def _required(scores: Scores, measure: str) -> NDArray[np.float64]:
    if measure not in scores:
        raise ValueError(f"no probe gives {measure!r}; they give {list(scores)}")
    return scores[measure]


def _ablating(directions: Sequence[Direction], *, layerwise: bool) -> Intervention:
    return Intervention(
        "ablate",
        lambda loaded: ablate_directions(
            loaded.model, loaded.architecture, directions, layerwise=layerwise
        ),
    )


def _effects(
    scores: Scores, own: Scores, *, source: str, resampling: Resampling
) -> tuple[Effect, ...]:
    return tuple(
        effect(
            name,
            values,
            before=own[name],
            intervention=f"ablate {source}",
            resampling=resampling,
        )
        for name, values in scores.items()
    )


def _removed(
    full: Float[np.ndarray, " item"],
    ablated: Float[np.ndarray, " item"],
    zero: Float[np.ndarray, " item"],
    *,
    resampling: Resampling,
) -> Estimate | None:
    """Share of the misalignment that went; None unless the organism has some in most resamples."""
    known = ~(np.isnan(full) | np.isnan(ablated) | np.isnan(zero))
    went, there = (full - ablated)[known], (full - zero)[known]
    if len(there) < 2 or math.isclose(float(there.mean()), 0.0, abs_tol=1e-12):
        return None
    counts = example_counts(len(there), n_resamples=resampling.n_resamples, rng=resampling.rng)
    below = counts @ there
    sign = np.sign(there.mean())
    is_there = np.sign(below) == sign
    if is_there.mean() < (1 + resampling.level) / 2:
        return None  # A denominator that may be 0 gives any share at all.
    shares = (counts @ went)[is_there] / below[is_there]
    value = float(went.mean() / there.mean())
    return bootstrap_estimate(value, shares, level=resampling.level)
