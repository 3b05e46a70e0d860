"""Where did training move the models: along misalignment, along refusal, or elsewhere?

A direction is made of half of the texts and movement is read on others.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from spillover.analysis.contrasts import Contrast, halves
from spillover.analysis.directions import directions_of
from spillover.analysis.estimate_columns import estimate_columns
from spillover.analysis.estimate_plots import plot_estimates
from spillover.analysis.movements import Movement, movement
from spillover.models.directions import Direction
from spillover.report.explanations import Claim, Exhibit
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.artifacts.part_pages import DrawnPart
from spillover.study.explaining.comparing.case import (
    CompareCase,
    band_text,
    estimate_claim,
    outcome_outside,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SOURCE = "no paper"
_Moved = tuple[str, str, Movement]
_EXHIBIT = Exhibit(
    name="movement",
    title="Mean shift of states",
    shows="The cosine of the mean shift from the first model with each direction, with its 95% "
    "interval over texts. Grey: directions drawn with the states' own covariance.",
    shows_not="How far: a model may hardly have moved; see the distances in the table, 1 being the "
    "whole way from one kind of text to the other.",
)


def movement_part(case: CompareCase) -> DrawnPart:
    """Say how far training moved every organism along both directions."""
    found = [moved for name in case.organisms for moved in _movements(case, name)]
    return DrawnPart(
        name="movement",
        title="Where did training move the models?",
        question="Does a misaligned fine-tune move against refusal, and does a model that unlearnt "
        "refusals move along misalignment?",
        claims=tuple(_movement_claim(*moved) for moved in found),
        exhibits=[(_EXHIBIT, lambda: _plot(found))] if found else [],
        rows=[_movement_row(*moved) for moved in found],
        notes=(
            f"Directions are of {case.base}. That of misalignment is made of half of the answers, "
            "and movement is read on the others; no direction is made of these harmful prompts.",
            *(() if found else (f"At layer {case.layer} no model's states moved.",)),
        ),
    )


def _plot(found: Sequence[_Moved]) -> "Figure":
    return plot_estimates(
        [(f"{name}: {m.direction}, {texts}", m.cosine) for name, texts, m in found],
        label="cosine of the shift with the direction",
        null=0.0,
        bands=[(m.null_low, m.null_high) for _, _, m in found],
    )


def _movements(case: CompareCase, name: str) -> list[_Moved]:
    base, tuned = case.states[case.base], case.states[name]
    place = base.refusal.layers.index(case.layer)
    made, _ = halves(base.misalignment)
    misalignment = next(
        d for d in directions_of(made, name="misalignment") if d.layer == case.layer
    )
    refusal = next(d for d in directions_of(base.refusal, name="refusal") if d.layer == case.layer)
    texts = {
        "answers": tuple(_half_states(s.misalignment, place) for s in (base, tuned)),
        "harmful prompts": tuple(s.asked[place] for s in (base, tuned)),
    }
    return [
        (name, which, _movement(case, name, which, before, after, direction))
        for which, (before, after) in texts.items()
        for direction in (misalignment, refusal)
        if bool((after - before).any())
    ]


def _half_states(contrast: Contrast, place: int) -> Float[Tensor, "example d_model"]:
    _, other = halves(contrast)
    return torch.cat([other.positive[place], other.negative[place]])


def _movement(
    case: CompareCase,
    name: str,
    which: str,
    before: Float[Tensor, "example d_model"],
    after: Float[Tensor, "example d_model"],
    direction: Direction,
) -> Movement:
    seed = case.settings.seed
    names = ("movement", name, which, direction.name)
    return movement(
        before,
        after,
        direction,
        rng=numpy_generator(seed, *names),
        generator=torch.Generator().manual_seed(derive_seed(seed, *names)),
    )


def _movement_claim(name: str, texts: str, found: Movement) -> Claim:
    return estimate_claim(
        f"Training {name} moved states on {texts} along {found.direction}, or against it",
        f"cosine of the mean shift at layer {found.layer}",
        found.cosine,
        source=_SOURCE,
        null=f"directions of the states' covariance: {band_text(found.null_low, found.null_high)}",
        outcome=outcome_outside(found.cosine, found.null_low, found.null_high, p=found.p),
        p=found.p,
    )


def _movement_row(name: str, texts: str, found: Movement) -> dict[str, Any]:
    row: dict[str, Any] = {"model": name, "texts": texts, "direction": found.direction}
    row |= {"layer": found.layer, "n": found.n} | estimate_columns("cosine", found.cosine)
    row |= {"null_low": found.null_low, "null_high": found.null_high, "p": found.p}
    return row | estimate_columns("distance", found.distance) | {"length": found.length}
