"""Erosion of alignment by layer (2507.03662, section 4.3)."""

import torch

from spillover.analysis.alignment_directions import (
    Definition,
    Projections,
    ResponseMeans,
    alignment_direction,
    project_responses,
    response_means,
    with_random_directions,
)
from spillover.analysis.erosion import ErosionCurve, SetProjections, erosion_by_layer
from spillover.analysis.erosion_contrast import ErosionContrast, erosion_contrast
from spillover.models.chat import ChatTokens
from spillover.models.loading import LoadedModel
from spillover.report.explanations import Claim, Exhibit, Outcome, outcome_above
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.explaining.analyses.case import Case, Drawn, Findings
from spillover.study.explaining.analyses.claims import estimated_claim
from spillover.study.explaining.models import ROLES, Role
from spillover.study.explaining.reading_store import Taken

_N_RANDOM = 39
_SAMPLES: dict[Definition, str] = {
    "tokens": "Each token of a response is a sample.",
    "flattened": "The first tokens of a response side by side are one vector, of which a mean over "
    "few responses is mostly noise.",
}


def _half(rows: list[ChatTokens], *, made: bool) -> list[ChatTokens]:
    """Every second exchange: those that make the direction, or those measured on it."""
    return rows[0 if made else 1 :: 2]


def read_alignment_means(case: Case, loaded: LoadedModel, _role: Role) -> Taken:
    """Mean states over one half of every set, all sets together."""
    rows = [row for of in case.tokens.values() for row in _half(of, made=True)]
    found = response_means(
        loaded.model,
        loaded.architecture,
        rows,
        pad_id=loaded.pad_id,
        definition=case.settings.definition,
        n_tokens=case.settings.max_tokens,
        batch_size=case.settings.batch_size,
    )
    return Taken({"mean": found.mean, "n": found.n}, {"layers": list(found.layers)})


def _means(case: Case, role: Role) -> ResponseMeans:
    taken = case.reading("alignment_means", role)
    return ResponseMeans(
        definition=case.settings.definition,
        n_tokens=case.settings.max_tokens,
        layers=tuple(taken.notes["layers"]),
        mean=taken.tensors["mean"],
        n=taken.tensors["n"],
    )


def read_projections(case: Case, loaded: LoadedModel, _role: Role) -> Taken:
    """Projections of the other half on the alignment direction, and on random ones."""
    direction = alignment_direction(_means(case, "base"), _means(case, "aligned"))
    generator = torch.Generator().manual_seed(derive_seed(case.settings.seed, "erosion", "random"))
    direction = with_random_directions(direction, _N_RANDOM, generator=generator)
    tensors = {}
    for name, rows in case.tokens.items():
        found = project_responses(
            loaded.model,
            loaded.architecture,
            _half(rows, made=False),
            direction,
            pad_id=loaded.pad_id,
            batch_size=case.settings.batch_size,
        )
        for kind in ("total", "squares", "n_samples"):
            tensors[f"{name}.{kind}"] = torch.from_numpy(getattr(found, kind))
    return Taken(tensors, {"layers": list(direction.layers)})


def _projections(case: Case, role: Role, name: str) -> Projections:
    taken = case.reading("projections", role)
    total, squares, n = (
        taken.tensors[f"{name}.{kind}"].numpy() for kind in ("total", "squares", "n_samples")
    )
    layers = tuple(taken.notes["layers"])
    return Projections(
        definition=case.settings.definition,
        layers=layers,
        total=total,
        squares=squares,
        n_samples=n,
    )


def conclude_erosion(case: Case) -> Findings:
    """How far tuned went back towards base, layer by layer, on every set."""
    projected = {
        of.name: SetProjections(
            name=of.name, **{role: _projections(case, role, of.name) for role in ROLES}
        )
        for of in case.data.sets
    }
    curves = {
        name: erosion_by_layer(of, rng=numpy_generator(case.settings.seed, "erosion", name))
        for name, of in projected.items()
    }
    first = case.data.questioned[0].name
    contrasts = [
        erosion_contrast(
            projected[first],
            projected[of.name],
            rng=numpy_generator(case.settings.seed, "erosion", "contrast", of.name),
        )
        for of in case.data.controls
    ]
    return Findings(
        claims=(_late_erosion(curves[first]), _specific_erosion(contrasts[0])),
        drawn=(
            *(Drawn(_curve_exhibit(curve), curve.plot) for curve in curves.values()),
            *(Drawn(_contrast_exhibit(found), found.plot) for found in contrasts),
        ),
        frames=(
            *(curve.to_frame() for curve in curves.values()),
            *(found.to_frame() for found in contrasts),
        ),
        notes=(
            f"{_SAMPLES[case.settings.definition]} The direction is made from one half of every "
            "set, pooled, and read on the other half.",
        ),
    )


def _curve_exhibit(curve: ErosionCurve) -> Exhibit:
    onset = curve.onset
    begins = "Erosion begins at no layer" if onset.layer is None else f"It begins at {onset.layer}"
    return Exhibit(
        name=f"erosion-{curve.name}",
        title=f"Along the alignment direction: {curve.name}",
        shows=f"where the three models stand at each layer on {curve.n_examples} responses, with "
        f"{curve.level:.0%} bands, and the share of the way from aligned back to base. {begins}, "
        "by a rule that allows for the number of layers.",
        shows_not="that the tuned model behaves as base does, nor that this is about "
        f"{curve.name}: compare the control sets.",
    )


def _contrast_exhibit(found: ErosionContrast) -> Exhibit:
    return Exhibit(
        name=f"erosion-contrast-{found.control}",
        title=f"Erosion on {found.name} less that on {found.control}",
        shows=f"the difference of the two erosion fractions, with {found.level:.0%} bands, each "
        "layer by itself.",
        shows_not=f"that erosion is about {found.name} wherever a band holds 0.",
    )


def _late_erosion(curve: ErosionCurve) -> Claim:
    last = curve.layers[-1]
    fraction = last.fraction
    outcome: Outcome = "undecided"
    if fraction is not None:
        outcome = outcome_above(fraction.ci_low, fraction.ci_high, p=last.p_random)
    return estimated_claim(
        fraction,
        source="2507.03662, 4.3",
        claim="In late layers the tuned model has moved from aligned towards base",
        measured=f"erosion fraction at layer {last.layer} on {curve.name}",
        p=last.p_random,
        null=f"0, and the shift along {curve.n_random} random directions (p)",
        outcome=outcome,
    )


def _specific_erosion(contrast: ErosionContrast) -> Claim:
    last = contrast.layers[-1]
    found = last.difference
    return estimated_claim(
        found,
        source="2507.03662, 4.3",
        claim=f"The erosion is about {contrast.name}, not about any text",
        measured=f"erosion fraction at layer {last.layer}, {contrast.name} less {contrast.control}",
        null=f"0: as much erosion on {contrast.control}",
        outcome="undecided" if found is None else outcome_above(found.ci_low, found.ci_high),
    )
