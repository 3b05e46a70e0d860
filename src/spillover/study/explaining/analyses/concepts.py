"""Concept vectors, their entanglement, and whether it foretells erosion (2511.14017, R3)."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from spillover.analysis.concept_vectors import (
    PAPER_LAYER,
    ConceptDirections,
    Method,
    concept_directions,
)
from spillover.analysis.entanglement import (
    Entanglement,
    Measure,
    entanglement,
    with_intervals,
    with_null,
)
from spillover.analysis.prediction import ErosionPrediction, predict_erosion
from spillover.analysis.separability import separability
from spillover.analysis.states import collect_states
from spillover.models.loading import LoadedModel
from spillover.report.explanations import Claim, Exhibit, Outcome
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.explaining.analyses.case import Case, Drawn, Findings, tidy
from spillover.study.explaining.analyses.claims import estimated_claim
from spillover.study.explaining.models import Role
from spillover.study.explaining.reading_store import Taken

_METHODS: tuple[Method, ...] = ("pca", "contrastive_pca", "mean_difference", "probe")
_SHEETS: tuple[tuple[str, Method, Measure, bool], ...] = (
    ("pca, raw states (the paper's)", "pca", "states", False),
    ("pca, centred states", "pca", "states", True),
    ("mean difference, directions", "mean_difference", "directions", False),
    ("contrastive pca, directions", "contrastive_pca", "directions", False),
)


def read_concept_states(case: Case, loaded: LoadedModel, _role: Role) -> Taken:
    """States at the last prompt token of every concept's prompts, all layers."""
    tensors = {
        name: collect_states(
            loaded.model,
            loaded.architecture,
            rows,
            pad_id=loaded.pad_id,
            batch_size=2 * case.settings.batch_size,
        )
        for name, rows in case.prompts.items()
    }
    return Taken(tensors, {"layers": list(range(loaded.architecture.n_layers))})


def concept_states(case: Case) -> tuple[dict[str, Tensor], Tensor, list[int]]:
    """Return the aligned model's states by concept, the benign ones, and the layers."""
    taken = case.reading("concept_states", "aligned")
    states = {name: taken.tensors[name] for name in case.data.prompts}
    return states, taken.tensors["benign"], list(taken.notes["layers"])


def made_and_held_out(states: Tensor) -> tuple[Tensor, Tensor]:
    """Split states, layer x prompt x width, into those that make vectors and those held out."""
    return states[:, 0::2], states[:, 1::2]


def _directions(case: Case, *, methods: tuple[Method, ...]) -> dict[str, ConceptDirections]:
    states, neutral, _ = concept_states(case)
    made = {name: made_and_held_out(of)[0] for name, of in states.items()}
    benign = made_and_held_out(neutral)[0]
    return {
        method: concept_directions(made, method=method, neutral=None if method == "pca" else benign)
        for method in methods
    }


def conclude_concept_vectors(case: Case) -> Findings:
    """Directions of every concept by four methods, and whether they tell it from benign prompts."""
    states, neutral, layers = concept_states(case)
    directions = _directions(case, methods=_METHODS)
    found = separability(
        directions,
        states={name: made_and_held_out(of)[1] for name, of in states.items()},
        neutral=made_and_held_out(neutral)[1],
        layers=layers,
        generator=torch.Generator().manual_seed(derive_seed(case.settings.seed, "vectors")),
    )
    return Findings(
        drawn=(
            Drawn(
                Exhibit(
                    name="concept-vectors",
                    title="Do the vectors tell their concept from benign prompts?",
                    shows="the area under the ROC curve of held-out prompts' projections on their "
                    "concept's vector, against benign prompts: the mean over concepts by method, "
                    "its range, and what 95% of random directions stay below.",
                    shows_not="that the model uses the direction, or that it is this concept's "
                    "alone: all harmful prompts may lie along it.",
                ),
                found.plot,
            ),
        ),
        frames=(found.to_frame(),),
        tensors={f"{method}.unit": of.unit for method, of in directions.items()},
        notes=(
            f"Concepts in the order of the tensors: {', '.join(found.concepts)}. One half of the "
            "prompts makes the vectors, the other is measured on.",
        ),
    )


def _sheets(case: Case) -> Iterator[tuple[str, Entanglement, Tensor | None]]:
    """Yield the entanglement of every layer by each measure, with the neutral states it used."""
    states, benign, layers = concept_states(case)
    for title, method, measure, centred in _SHEETS:
        neutral = None if method == "pca" else benign
        found = entanglement(
            states,
            layers=layers,
            method=method,
            measure=measure,
            centred=centred,
            neutral=neutral,
        )
        yield title, found, neutral


def conclude_entanglement(case: Case) -> Findings:
    """Concept x concept matrices at every layer; intervals and null at a few."""
    sheets = list(_sheets(case))
    layers = list(sheets[0][1].layers)
    shown = min(PAPER_LAYER, layers[-1])
    chosen = sorted({shown, *case.some_layers(len(layers), n=4)})
    tested = [_tested(case, found, neutral, chosen) for _, found, neutral in sheets]
    data = {
        "layers": layers,
        "start": shown,
        "rows": list(sheets[0][1].concepts),
        "columns": list(sheets[0][1].concepts),
        "sheets": [
            {"name": title, "values": found.values.round(3).tolist()} for title, found, _ in sheets
        ],
    }
    return Findings(
        drawn=tuple(
            Drawn(
                _matrix_exhibit(title, found, shown, data if i == 0 else None),
                partial(found.plot, shown),
            )
            for i, ((title, _, _), found) in enumerate(zip(sheets, tested, strict=True))
        ),
        frames=tuple(found.to_frame() for found in tested),
        notes=tuple(
            f"{title}: {_share_significant(found, shown)}"
            for (title, _, _), found in zip(sheets, tested, strict=True)
        ),
    )


def _tested(
    case: Case, found: Entanglement, neutral: Tensor | None, layers: list[int]
) -> Entanglement:
    """Return the same at a few layers, with intervals and null."""
    states, _, _ = concept_states(case)
    places = [found.layers.index(layer) for layer in layers]
    few = {name: of[places] for name, of in states.items()}
    benign = None if neutral is None else neutral[places]
    rng = numpy_generator(case.settings.seed, "entanglement", found.method, str(found.centred))
    again = entanglement(
        few,
        layers=layers,
        method=found.method,
        measure=found.measure,
        centred=found.centred,
        neutral=benign,
    )
    again = with_intervals(again, few, rng=rng, neutral=benign, n_resamples=100)
    return with_null(again, few, rng=rng, neutral=benign, n_draws=99)


def _matrix_exhibit(
    title: str, found: Entanglement, layer: int, data: dict[str, Any] | None
) -> Exhibit:
    what = (
        "the mean cosine between the vector of the row's concept and states of the column's"
        if found.measure == "states"
        else "the cosine between the vectors of two concepts"
    )
    name = f"entanglement-{found.method}-{'centred' if found.centred else 'raw'}-{found.measure}"
    return Exhibit(
        name=name,
        title=f"Entanglement before tuning: {title}, layer {layer}"
        + (" unless you pick another" if data else ""),
        shows=f"{what}, in the aligned model.",
        shows_not="what tuning does. Raw states share an offset, which alone makes cosines large; "
        "signs are those of a sign rule.",
        widget="matrices" if data else None,
        data=data,
    )


def _share_significant(found: Entanglement, layer: int) -> str:
    assert found.p is not None
    p = found.p[found.layers.index(layer)]
    n = len(found.concepts)
    off = [p[i, j] for i in range(n) for j in range(n) if i != j]
    clear = sum(value <= 0.05 for value in off)
    return (
        f"at layer {layer}, {clear} of {len(off)} cells differ from prompts dealt to concepts at "
        f"random (p <= 0.05 each; {0.05 * len(off):.0f} would by chance)."
    )


def conclude_prediction(case: Case) -> Findings:
    """Does entanglement before tuning foretell erosion after it?"""
    found = {
        title: predict_erosion(
            sheet, case.measured, rng=numpy_generator(case.settings.seed, "prediction", title)
        )
        for title, sheet, _ in _sheets(case)
    }
    return Findings(
        # One claim, so that nothing is picked among the sheets after looking.
        claims=(_foretells(*next(iter(found.items()))),),
        drawn=tuple(
            Drawn(
                Exhibit(
                    name=f"prediction-{i + 1}",
                    title=f"Entanglement and erosion: {title}",
                    shows=f"the rank correlation of |entanglement| before tuning with erosion "
                    f"after it at each layer, over {of.n_pairs} pairs of {of.n_interventions} "
                    f"interventions on {of.n_targets} targets. Layer {of.best_layer} is best, "
                    f"p = {of.p_best:.3f} after looking at {len(of.layers)} layers.",
                    shows_not="a cause, nor what other concepts or models would give: with one "
                    "target, brittle concepts and entangled ones cannot be told apart.",
                ),
                of.plot,
            )
            for i, (title, of) in enumerate(found.items())
        ),
        frames=tuple(tidy(of.to_frame(), sheet=title) for title, of in found.items()),
        notes=tuple(f"{title}: {_left_out(of)}" for title, of in found.items()),
    )


def _foretells(title: str, of: ErosionPrediction) -> Claim:
    best = next(row for row in of.layers if row.layer == of.best_layer)
    rho = best.spearman
    outcome: Outcome = "undecided"
    if rho is not None and of.p_best <= 0.05:
        outcome = "holds" if rho.value > 0 else "does not hold"
    return estimated_claim(
        rho,
        source="2511.14017, R3",
        claim=f"Concepts more entangled with the target erode more ({title})",
        measured=f"Spearman's rho at the best layer, {of.best_layer}",
        p=of.p_best,
        null=f"concepts relabelled, corrected for {len(of.layers)} layers",
        outcome=outcome,
    )


def _left_out(of: ErosionPrediction) -> str:
    errors = of.left_out
    if errors is None:
        return f"{of.n_interventions} interventions are too few to leave one out."
    gain = errors.gain_over_concept_mean
    return (
        f"left-out error {errors.nested.value:.3f}, against {errors.concept_mean.value:.3f} from "
        f"each concept's own mean (gain {gain.value:.3f} [{gain.ci_low:.3f}, {gain.ci_high:.3f}])."
    )
