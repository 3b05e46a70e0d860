"""Misalignment against refusal: cosines by layer, angles of their subspaces, what they share.

No paper has this. Each number stands beside what labels that mean nothing, or directions that only
follow where states vary, give.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from spillover.analysis.convergence import DirectionCosines, direction_cosines, plot_cosines
from spillover.analysis.direction_parts import split_direction
from spillover.analysis.subspace_angles import (
    SubspaceAngles,
    plot_subspace_angles,
    subspace_angles,
)
from spillover.report.explanations import Claim, Exhibit
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.artifacts.part_pages import DrawnPart, plain_rows
from spillover.study.explaining.comparing.case import (
    CompareCase,
    band_text,
    estimate_claim,
    outcome_outside,
)
from spillover.study.explaining.comparing.convergence import at_layer

_SOURCE = "no paper"
_N_DRAWS = 200
_MOST_SHOWN = 6


def refusal_part(case: CompareCase) -> DrawnPart:
    """Say how misalignment and refusal lie to each other in every model."""
    cosines = [_cosines(case, name) for name in case.models]
    angles = _angles(case)
    exhibits = [
        (
            Exhibit(
                name="refusal-cosines",
                title="Misalignment and refusal, by layer",
                shows="The cosine of each model's misalignment direction with its own refusal "
                "direction; band: 95% interval over texts. Grey: labels shuffled.",
                shows_not="Whether one causes the other: see what adding and ablating them does.",
            ),
            lambda: plot_cosines(cosines[:_MOST_SHOWN]),
        )
    ]
    if angles:
        exhibits.append(
            (
                Exhibit(
                    name="refusal-angles",
                    title="Nearest directions of the two subspaces, by layer",
                    shows="The smallest angle between what differences of single prompts span and "
                    "what refusals of single concepts span, in the first model.",
                    shows_not="A shared mechanism where the line is inside the grey: that near lie "
                    "any directions along which these states vary.",
                ),
                lambda: plot_subspace_angles(angles),
            )
        )
    rows: list[dict[str, Any]] = [
        {"what": "cosine"} | row for found in cosines for row in plain_rows(found.to_frame())
    ]
    rows += [{"what": "angles"} | _flat(found) for found in angles]
    lacks = "Principal angles need two prompts with both kinds of answers, and two concepts."
    return DrawnPart(
        name="refusal",
        title="Are misalignment and refusal one direction?",
        question="Does the direction of misaligned answers lie along that of refusing, or against "
        "it, and do the subspaces of both lie close?",
        claims=tuple([*(_cosine_claim(case, f) for f in cosines), *_angle_claims(case, angles)]),
        exhibits=exhibits,
        rows=rows,
        notes=(_shared(case), *(() if angles else (lacks,))),
    )


def _cosines(case: CompareCase, name: str) -> DirectionCosines:
    states = case.states[name]
    return direction_cosines(
        states.misalignment,
        states.refusal,
        names=(f"misalignment, {name}", f"refusal, {name}"),
        rng=numpy_generator(case.settings.seed, "misalignment and refusal", name),
    )


def _cosine_claim(case: CompareCase, found: DirectionCosines) -> Claim:
    at = at_layer(found, case.layer)
    return estimate_claim(
        f"In {found.first.removeprefix('misalignment, ')}, misalignment and refusal lie along one "
        "line, the same way or against each other",
        f"cosine at layer {case.layer}",
        at.cosine,
        source=_SOURCE,
        null=f"labels shuffled: {band_text(at.null_low, at.null_high)}",
        outcome=outcome_outside(at.cosine, at.null_low, at.null_high, p=at.p_shuffled),
        p=at.p_shuffled,
    )


def _angles(case: CompareCase) -> list[SubspaceAngles]:
    """Compare the two subspaces in the base, layer by layer; nothing where rows are too few."""
    states = case.states[case.base]
    contrasts = states.misalignment, states.refusal
    answers = _prompt_coefficients(case)
    prompts = _concept_coefficients(case)
    if min(len(answers), len(prompts)) < 2:
        return []
    generator = torch.Generator().manual_seed(derive_seed(case.settings.seed, "angles"))
    found = []
    for place, layer in enumerate(states.refusal.layers):
        stacked = [torch.cat([c.positive[place], c.negative[place]]).double() for c in contrasts]
        found.append(
            subspace_angles(
                answers @ stacked[0],
                prompts @ stacked[1],
                torch.cat(stacked),
                layer=layer,
                generator=generator,
                n_draws=_N_DRAWS,
            )
        )
    return found


def _prompt_coefficients(case: CompareCase) -> Float[Tensor, "row example"]:
    """For every prompt that has answers of both kinds: misaligned less aligned mean."""
    sides = case.texts.misaligned, case.texts.aligned
    return _differences([[e.prompt for e in side] for side in sides])


def _concept_coefficients(case: CompareCase) -> Float[Tensor, "row example"]:
    """For every harmful concept: its prompts' mean less that of all harmless ones."""
    names = [p.concept for p in case.texts.harmful]
    n = len(case.texts.harmless)
    rows = [
        torch.cat([_share([name == concept for name in names]), -torch.full((n,), 1 / n).double()])
        for concept in dict.fromkeys(names)
    ]
    return torch.stack(rows)


def _differences(groups: Sequence[Sequence[str]]) -> Float[Tensor, "row example"]:
    both = [name for name in dict.fromkeys(groups[0]) if name in set(groups[1])]
    rows = [
        torch.cat(
            [
                sign * _share([name == chosen for name in side])
                for sign, side in zip((1, -1), groups, strict=True)
            ]
        )
        for chosen in both
    ]
    return torch.stack(rows) if rows else torch.zeros(0, sum(len(g) for g in groups))


def _share(chosen: Sequence[bool]) -> Float[Tensor, " example"]:
    mask = torch.tensor(chosen, dtype=torch.float64)
    return mask / mask.sum()


def _flat(found: SubspaceAngles) -> dict[str, Any]:
    row: dict[str, Any] = {"layer": found.layer}
    for i, angle in enumerate(found.angles):
        row |= {f"angle_{i + 1}": angle, f"random_low_{i + 1}": found.random_low[i]}
        row |= {f"matched_low_{i + 1}": found.matched_low[i]}
    return row | {"p_random": found.p_random, "p_matched": found.p_matched}


def _angle_claims(case: CompareCase, angles: Sequence[SubspaceAngles]) -> list[Claim]:
    return [
        Claim(
            source=_SOURCE,
            claim=f"In {case.base}, the subspaces of misalignment and of refusal share a direction",
            measured=f"smallest angle at layer {case.layer}, degrees",
            value=at.angles[0],
            p=at.p_matched,
            null="directions of the states' covariance, lowest 2.5%: "
            f"{at.matched_low[0]:.0f}; random: {at.random_low[0]:.0f}",
            outcome="holds" if at.p_matched <= 0.05 else "undecided",
        )
        for at in angles
        if at.layer == case.layer
    ]


def _shared(case: CompareCase) -> str:
    parts = split_direction(case.misalignment(case.base), [case.refusal])
    return (
        f"At layer {case.layer} the misalignment direction of {case.base} shares "
        f"{100 * parts.shared_share:.2g}% of its squared length with refusal; a random direction "
        f"shares {100 * parts.expected_random:.2g}% on average."
    )
