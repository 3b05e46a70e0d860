"""Turns two concepts' vectors into whether what they share carries the erosion of one by the other.

The open question of 2511.14017, R3: concepts whose vectors are entangled erode together, but does
the shared part cause it? Here the tuned model's last-token state is given back what the aligned
model has along one direction, everything else staying as tuning made it, and the refusal log-odds
are read. If the shared part carries the erosion, less of it is left than after a change as long in
a random direction.

    shared         the bisector of the two vectors, in the span that both are in
    target_only    what of the target's vector is orthogonal to the other's
    concept_only   what of the other's vector is orthogonal to the target's
    all            the whole state, an upper bound for this layer and token
    ablated        the shared component taken out of both models, rather than given back

Only the last prompt token at one layer is changed; what tuning did to other tokens stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spillover.analysis.activation_patching import share_of_gap
from spillover.analysis.estimate_columns import estimate_columns
from spillover.analysis.estimates import Estimate, bootstrap_estimate
from spillover.analysis.layer_plots import draw_band, new_panels
from spillover.analysis.nulls import permutation_p
from spillover.analysis.resamples import example_counts
from spillover.records import Record

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Component = Literal["shared", "target_only", "concept_only", "all", "ablated"]
COMPONENTS: tuple[Component, ...] = ("shared", "target_only", "concept_only", "all", "ablated")


@dataclass(frozen=True, kw_only=True, eq=False)
class EditedReadouts:
    """Readouts of one concept's prompts before and after edits at one layer, in nats."""

    target_concept: str
    concept: str
    layer: int
    cosine: float
    "Between the two concepts' vectors."
    aligned: Float[np.ndarray, " prompt"]
    tuned: Float[np.ndarray, " prompt"]
    edited: Mapping[Component, Float[np.ndarray, " prompt"]]
    "Erosion left after each edit: readout of aligned less that of the edited model."
    control: Float[np.ndarray, "draw prompt"]
    "The same after changes as long as `shared`, in random directions."


@dataclass(frozen=True, kw_only=True)
class ComponentEffect(Record):
    """How much less is eroded once one component is restored."""

    target_concept: str
    concept: str
    layer: int
    component: Component
    cosine: float
    erosion: Estimate
    "Mean readout of aligned less that of tuned, in nats."
    fall: Estimate
    "Erosion less what is left of it after the edit, in nats."
    share: Estimate | None
    "fall / erosion; None where no erosion is shown."
    control_low: float
    "Between control_low and control_high lie the falls after all random changes."
    control_high: float
    p: float
    "Share of random changes, as long as that of the shared component, with as large a fall."


@dataclass(frozen=True, kw_only=True)
class ComponentEffects(Record):
    """Effects of all concepts, layers and components."""

    level: float
    rows: tuple[ComponentEffect, ...]

    def to_frame(self) -> "pd.DataFrame":
        """Return one row for each concept, layer and component."""
        import pandas as pd

        found = []
        for row in self.rows:
            names = ("target_concept", "concept", "layer", "component", "cosine")
            columns = {name: getattr(row, name) for name in names}
            for name in ("erosion", "fall", "share"):
                columns |= estimate_columns(name, getattr(row, name))
            tail = {"control_low": row.control_low, "control_high": row.control_high, "p": row.p}
            found.append(columns | tail)
        return pd.DataFrame(found)

    def plot(self) -> "Figure":
        """Draw the fall of erosion by layer, one panel a concept, over the random changes."""
        concepts = list(dict.fromkeys(row.concept for row in self.rows))
        figure, panels = new_panels(len(concepts), width=6.4, height=0.8 + 1.7 * len(concepts))
        for axes, concept in zip(panels, concepts, strict=True):
            of = [row for row in self.rows if row.concept == concept]
            for component in dict.fromkeys(row.component for row in of):
                rows = [row for row in of if row.component == component]
                places = [row.layer for row in rows]
                draw_band(axes, places, [row.fall for row in rows], label=component)
            shared = [row for row in of if row.component == "shared"]
            axes.fill_between(
                [row.layer for row in shared],
                [row.control_low for row in shared],
                [row.control_high for row in shared],
                color="#767676",
                alpha=0.3,
                linewidth=0,
                label="random",
            )
            axes.axhline(shared[0].erosion.value, color="#767676", linestyle=":", linewidth=1)
            axes.axhline(0, color="#767676", linewidth=0.8)
            axes.set_ylabel(f"{concept}\n(nats)")
        panels[0].legend(ncols=3, fontsize="small")
        panels[-1].set_xlabel("layer")
        return figure


@dataclass(frozen=True, eq=False)
class SharedComponent:
    """Unit vectors of what two concepts' vectors share and of what each has alone."""

    cosine: float
    units: Mapping[Component, Float[Tensor, " d_model"]]
    "Of `shared`, `target_only` and `concept_only`."


def shared_component(
    target: Float[Tensor, " d_model"], concept: Float[Tensor, " d_model"]
) -> SharedComponent:
    """Split two vectors into the direction that they share and what each has beside the other.

    The shared direction is the bisector of the lines that the vectors span, so that it does not
    depend on their signs:  u = a + sign(a . b) b, normalised.

    Raises:
        ValueError: If one vector is 0 or both lie on one line: then nothing is theirs alone.

    Example:
        >>> found = shared_component(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0]))
        >>> round(found.cosine, 4), [round(x, 2) for x in found.units["target_only"].tolist()]
        (0.7071, [0.71, -0.71])
    """
    a, b = (torch.nn.functional.normalize(v.double(), dim=0) for v in (target, concept))
    cosine = float(a @ b)
    if min(float(a.norm()), float(b.norm())) == 0 or abs(cosine) > 1 - 1e-9:
        raise ValueError(
            f"two vectors with cosine {cosine:.3f}; a shared component is between two vectors that "
            "are not 0 and point in different directions"
        )
    sign = 1.0 if cosine >= 0 else -1.0
    parts: dict[Component, Tensor] = {
        "shared": a + sign * b,
        "target_only": a - cosine * b,
        "concept_only": b - cosine * a,
    }
    units = {name: torch.nn.functional.normalize(v, dim=0).float() for name, v in parts.items()}
    return SharedComponent(cosine=cosine, units=units)


def restoring_edits(
    tuned: Float[Tensor, "prompt d_model"],
    aligned: Float[Tensor, "prompt d_model"],
    unit: Float[Tensor, " d_model"],
) -> Float[Tensor, "prompt d_model"]:
    """What gives a tuned state the aligned one's component along a unit vector.

    ((h_aligned - h_tuned) . u) u
    """
    return ((aligned - tuned) @ unit)[:, None] * unit


def ablating_edits(
    states: Float[Tensor, "prompt d_model"], unit: Float[Tensor, " d_model"]
) -> Float[Tensor, "prompt d_model"]:
    """What takes the component along a unit vector out of a state: -(h . u) u (2406.11717)."""
    return -(states @ unit)[:, None] * unit


def component_effects(
    readouts: EditedReadouts,
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> list[ComponentEffect]:
    """How much erosion falls after each edit, with intervals over prompts and random changes.

    The vectors are taken as given; make them from other prompts than those read here.

    Args:
        readouts: Of one concept and layer.
        rng: Source of the resamples of prompts.
        n_resamples: Number of bootstrap resamples.
        level: Confidence level in the open interval (0, 1).

    Raises:
        ValueError: If there are fewer than two prompts or no random changes.
    """
    n = len(readouts.aligned)
    weights = example_counts(n, n_resamples=n_resamples, rng=rng) / n
    erosion = readouts.aligned - readouts.tuned
    controls = (erosion - readouts.control).mean(axis=1)
    rows = []
    for component, left in readouts.edited.items():
        falls = erosion - left
        rows.append(
            ComponentEffect(
                target_concept=readouts.target_concept,
                concept=readouts.concept,
                layer=readouts.layer,
                component=component,
                cosine=readouts.cosine,
                erosion=bootstrap_estimate(erosion.mean(), weights @ erosion, level=level),
                fall=bootstrap_estimate(falls.mean(), weights @ falls, level=level),
                share=share_of_gap(falls, erosion, weights, level=level),
                control_low=float(controls.min()),
                control_high=float(controls.max()),
                p=float(permutation_p(falls.mean(), controls, alternative="greater")),
            )
        )
    return rows
