"""Turns resistance and rebound into the parts of a page: claims, figures, rows.

The claims are those of 2406.06144, section 4.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from spillover.analysis.compression import ChangeRatio
from spillover.analysis.elasticity import (
    Rebound,
    ReboundCurve,
    ReboundGrowth,
    Resistance,
    ResistanceCell,
)
from spillover.analysis.elasticity_plots import plot_rebounds, plot_resistance
from spillover.report.explanations import Claim, Exhibit, outcome_above
from spillover.stats import SeedDifference
from spillover.study.artifacts.part_pages import DrawnPart


def resistance_part(cells: Sequence[ResistanceCell], found: Resistance) -> DrawnPart:
    """Return the part of a page about resistance."""
    of = f"of {found.n_cells} cells"
    return DrawnPart(
        name="resistance",
        title="Resistance",
        question="Is it easier to train a model back than on?",
        claims=(
            _claim(
                "Inverse training ends with a lower loss than forward training",
                f"forward - inverse, nats a token; positive in {found.n_positive} {of}",
                found.raw,
                section="4.1",
            ),
            _claim(
                "It does so beyond what the entropies of the two targets explain",
                "forward - inverse of the loss above entropy, nats a token; positive in "
                f"{found.n_positive_corrected} {of}",
                found.corrected,
                section="4.1",
            ),
            _claim(
                "Forward training moves the model further",
                "forward - inverse KL that training cost, nats a token",
                found.moved,
                section="appendix, table 2",
            ),
        ),
        exhibits=[
            (
                Exhibit(
                    name="resistance",
                    title="Forward against inverse training",
                    shows="Each dot is one seed's pair of trainings with equal budgets.",
                    shows_not="Why: one slice's answers may only be harder to predict than "
                    "another's. That is what the middle panel takes off.",
                ),
                lambda: plot_resistance(cells),
            )
        ],
        rows=[_cell_row(cell) for cell in cells],
        notes=("Intervals are over seeds; pairs of slices of one seed are averaged first.",),
    )


def _cell_row(cell: ResistanceCell) -> Mapping[str, Any]:
    row: dict[str, Any] = {"seed": cell.seed, "early": cell.early, "late": cell.late}
    for name, side in (("forward", cell.forward), ("inverse", cell.inverse)):
        row |= {f"{name}_{key}": value for key, value in side.to_dict().items()}
    return row | {"raw": cell.raw, "corrected": cell.corrected, "moved": cell.moved}


def rebound_parts(
    curves: Sequence[ReboundCurve],
    found: Sequence[Rebound],
    growth: ReboundGrowth | None,
    *,
    runs: Sequence[Mapping[str, Any]],
    ratios: Sequence[ChangeRatio],
) -> list[DrawnPart]:
    """Return the parts of a page about rebound and compression.

    Args:
        curves: All runs.
        found: The same described.
        growth: Fewest against most positive examples; None where there is one seed or number.
        runs: What was measured, with rows of compression rates.
        ratios: Of changes, for each run; may be empty.
    """
    rebounds = DrawnPart(
        name="rebound",
        title="Rebound",
        question="Does a model that was trained further go back faster?",
        claims=() if growth is None else tuple(_growth_claims(growth)),
        exhibits=[
            (
                Exhibit(
                    name="rebound",
                    title="Back to the base",
                    shows="Above, how much likelier positive answers are, with the knee of two "
                    "straight pieces as a dot; below, the distance from the base, with the "
                    "threshold dotted.",
                    shows_not="That the base was reached where the score is the base's: the "
                    "distance says so, and training past the base leads away from it.",
                ),
                lambda: plot_rebounds(curves, found, score="margin, nats a token"),
            )
        ],
        rows=[_rebound_row(one) for one in found],
        notes=(
            "A small p of a knee says that the curve is no straight line; an even flattening is "
            "none either. A slope before a knee of large p is one of any piece of the curve.",
            _reached(found),
        ),
    )
    compression = DrawnPart(
        name="compression",
        title="Compression",
        question="How many bits a token does the model need for each kind of data?",
        exhibits=[],
        claims=tuple(_ratio_claim(ratio) for ratio in ratios[:1]),
        rows=[row for run in runs for row in run["rows"]],
        notes=(
            "proxy: the base's own answers to benign prompts, which stand for its pre-training "
            "data.",
        ),
    )
    return [rebounds, compression]


def _reached(found: Sequence[Rebound]) -> str:
    n = sum(one.examples_to_threshold is not None for one in found)
    return (
        f"A distance of {found[0].threshold:g} nats a token was reached in {n} of {len(found)} "
        "runs; only where all do are their numbers of examples compared."
    )


def _growth_claims(growth: ReboundGrowth) -> list[Claim]:
    slope = _claim(
        f"With {growth.many} positive examples the score falls faster than with {growth.few}",
        "difference of margin lost with each negative example before the knee, nats a token",
        growth.initial_slope,
        section="4.2",
    )
    fall = _claim(
        f"With {growth.many} positive examples the same negative ones take more of the score away",
        "difference of margin lost over all negative examples, nats a token",
        growth.fall,
        section="4.2",
    )
    if growth.examples_to_threshold is None:
        return [slope, fall]
    fewer = growth.examples_to_threshold
    negated = SeedDifference(
        delta=-fewer.delta,
        ci_low=None if fewer.ci_high is None else -fewer.ci_high,
        ci_high=None if fewer.ci_low is None else -fewer.ci_low,
        p=fewer.p,
        n=fewer.n,
    )
    return [
        slope,
        fall,
        _claim(
            f"It needs fewer negative examples to be back at the base with {growth.many} positive",
            "negative examples that are saved",
            negated,
            section="table 3",
        ),
    ]


def _rebound_row(found: Rebound) -> Mapping[str, Any]:
    row = found.to_dict()
    for name in ("knee", "distance_knee"):
        row |= {f"{name}_{key}": value for key, value in row.pop(name).items()}
    return row


def _claim(text: str, measured: str, found: SeedDifference, *, section: str) -> Claim:
    return Claim(
        source=f"2406.06144, {section}",
        claim=text,
        measured=f"{measured}; {found.n} seeds",
        value=found.delta,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        p=found.p,
        null="no difference over seeds",
        outcome=outcome_above(found.ci_low, found.ci_high),
    )


def _ratio_claim(ratio: ChangeRatio) -> Claim:
    return Claim(
        source="2406.06144, theorem 4.2",
        claim="Compression of alignment data changes k times as fast as that of pre-training data",
        measured="- change on positive / change on proxy, first run, first measurement",
        value=ratio.measured,
        ci_low=ratio.ci_low,
        ci_high=ratio.ci_high,
        null=f"k = {ratio.predicted:.3g}, up to a constant that the theory leaves open",
        outcome="undecided",
    )
