"""Do organisms find one direction? Cosines by layer between their misalignment directions.

2506.11618, section 3. Two models of one origin that read the same texts agree on any contrast of
these texts, so labels are shuffled alike on both sides, and what training changed is compared too.
"""

from itertools import combinations
from typing import TYPE_CHECKING

from spillover.analysis.convergence import (
    DirectionCosines,
    LayerCosine,
    change_cosines,
    cosine_matrix,
    direction_cosines,
    plot_cosines,
)
from spillover.analysis.layer_plots import draw_matrix
from spillover.report.explanations import Claim, Exhibit
from spillover.seeding import numpy_generator
from spillover.study.artifacts.part_pages import DrawnPart, plain_rows
from spillover.study.explaining.comparing.case import (
    CompareCase,
    band_text,
    estimate_claim,
    outcome_outside,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_SHOWN = 6


def convergence_part(case: CompareCase) -> DrawnPart:
    """Compare the directions of every two organisms, and what training changed of them."""
    pairs = list(combinations(case.organisms, 2))
    whole = [_whole(case, *pair) for pair in pairs]
    changed = [_changed(case, *pair) for pair in pairs]
    rows = [
        {"what": what} | row
        for what, found in (("direction", whole), ("change", changed))
        for cosines in found
        for row in plain_rows(cosines.to_frame())
    ]
    return DrawnPart(
        name="convergence",
        title="Do organisms find one direction?",
        question="Are the misalignment directions of models that were trained on different things "
        "alike, and is what training changed of them?",
        claims=tuple(
            [_claim(case, found, "have one misalignment direction") for found in whole]
            + [_claim(case, found, "were changed alike") for found in changed]
        ),
        exhibits=[
            (
                Exhibit(
                    name="convergence",
                    title="Directions of two organisms, by layer",
                    shows="The cosine of two organisms' misalignment directions with its 95% "
                    "interval over answers. Grey: 95% of the cosines with labels shuffled, alike "
                    "on both sides.",
                    shows_not="That training found it: both models read the same answers, and "
                    "agree on nearly any way to part them. What lies above the grey says more.",
                ),
                lambda: plot_cosines(whole[:_MOST_SHOWN]),
            ),
            (
                Exhibit(
                    name="changes",
                    title="What training changed of the direction, by layer",
                    shows="The same of each organism's direction less the base's, without what "
                    "lies along the base's: 0 where two trainings changed different things.",
                    shows_not="Misaligned behaviour: a training that teaches nothing of the kind "
                    "may change the same. Give a benign organism to see.",
                ),
                lambda: plot_cosines(changed[:_MOST_SHOWN]),
            ),
            (
                Exhibit(
                    name="cosines",
                    title=f"All models at layer {case.layer}",
                    shows="Cosines between the misalignment directions of all models, the base "
                    "among them.",
                    shows_not="Noise: directions made of few answers have smaller cosines.",
                ),
                lambda: _matrix(case),
            ),
        ],
        rows=rows,
        notes=(
            "Cosines of changes are not the paper's measure; they answer what its own leaves open, "
            "namely that models of one origin are alike before they are trained.",
            "p is of one layer; p_any_layer is corrected for having looked at all of them.",
        ),
    )


def _whole(case: CompareCase, first: str, second: str) -> DirectionCosines:
    return direction_cosines(
        case.states[first].misalignment,
        case.states[second].misalignment,
        names=(first, second),
        rng=numpy_generator(case.settings.seed, "convergence", first, second),
        same_texts=True,
    )


def _changed(case: CompareCase, first: str, second: str) -> DirectionCosines:
    return change_cosines(
        case.states[first].misalignment,
        case.states[second].misalignment,
        start=case.states[case.base].misalignment,
        names=(f"change of {first}", f"change of {second}"),
        rng=numpy_generator(case.settings.seed, "changes", first, second),
    )


def at_layer(found: DirectionCosines, layer: int) -> LayerCosine:
    """Return the cosine at one layer."""
    return next(at for at in found.layers if at.layer == layer)


def _claim(case: CompareCase, found: DirectionCosines, text: str) -> Claim:
    at = at_layer(found, case.layer)
    names = " and ".join(name.removeprefix("change of ") for name in (found.first, found.second))
    return estimate_claim(
        f"{names} {text}",
        f"cosine at layer {case.layer}",
        at.cosine,
        source="2506.11618, 3" if text.startswith("have") else "no paper",
        null=f"labels shuffled alike: {band_text(at.null_low, at.null_high)}",
        outcome=outcome_outside(at.cosine, at.null_low, at.null_high, p=at.p_shuffled),
        p=at.p_shuffled,
    )


def _matrix(case: CompareCase) -> "Figure":
    from matplotlib.figure import Figure

    names = list(case.states)
    values = cosine_matrix([s.misalignment for s in case.states.values()], layer=case.layer)
    side = 2.0 + 0.6 * len(names)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    draw_matrix(figure.subplots(), values, rows=names, columns=names)
    return figure
