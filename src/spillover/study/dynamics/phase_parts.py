"""Turns phase changes, behaviour and its onsets into the parts of a page: claims, figures, rows.

The claims are those of 2506.11613, section 4; each says what it was held against.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spillover.analysis.estimates import Estimate
from spillover.analysis.onsets import BehaviourOnset, onset_lag
from spillover.analysis.phase_changes import PhaseChanges
from spillover.analysis.phase_plots import (
    plot_behaviours,
    plot_growth,
    plot_principal_paths,
    plot_rotations,
)
from spillover.report.explanations import Claim, Exhibit, outcome_above
from spillover.stats import mean_interval
from spillover.stats.change_points import MOST_MEMORY
from spillover.study.artifacts.part_pages import DrawnPart
from spillover.study.dynamics.behaviours import Behaviour

_SOURCE = "2506.11613, 4"
_MOST_SHOWN = 3


def phase_parts(
    paths: Sequence[PhaseChanges],
    behaviours: Sequence[Behaviour],
    onsets: Sequence[BehaviourOnset],
    *,
    gradient_norms: Sequence[tuple[int, float]] = (),
) -> list[DrawnPart]:
    """Return the parts of the page.

    Args:
        paths: The first is the one that behaviour is compared with.
        behaviours: What was measured along the training; may be empty.
        onsets: Of the behaviours, in the same order.
        gradient_norms: Step and norm; may be empty.
    """
    shown = list(paths[:_MOST_SHOWN])
    parts = [_turns(paths, shown), _shape(paths, shown, gradient_norms)]
    if behaviours:
        parts.append(_behaviour(paths[0], behaviours, onsets))
    return parts


def _turns(paths: Sequence[PhaseChanges], shown: list[PhaseChanges]) -> DrawnPart:
    return DrawnPart(
        name="turns",
        title="Where the weights turn",
        question="Does the direction in which training moves the weights change at some step?",
        claims=tuple(_turn_claim(found) for found in shown if found.change is not None),
        exhibits=[
            (
                Exhibit(
                    name="rotation",
                    title="Local cosine along training",
                    shows="The cosine of the ways back and ahead, k checkpoints each: -1 where "
                    "the path is straight, 0 at a right angle. Amber: a change of direction "
                    "that a random walk has at most as often as the test's level, with its "
                    "95% interval.",
                    shows_not="A random walk is at 0 everywhere, so height by itself is no "
                    "turn; the peak's p is in the table. A bend that goes on for long is "
                    "marked near its middle.",
                ),
                lambda: plot_rotations(shown),
            )
        ],
        rows=[_turn_row(found) for found in paths],
        notes=(
            "The change point's null is a random walk with drift whose moves remember the one "
            "before; what is shared with it is taken off. p is of the largest change only.",
        ),
    )


def _turn_claim(found: PhaseChanges) -> Claim:
    assert found.change is not None
    low, high = (found.steps[i] for i in (found.change.ci_low, found.change.ci_high))
    return Claim(
        source=_SOURCE,
        claim=f"{found.name} changes its direction at one point of training",
        measured="step of the largest change",
        value=found.steps[found.change.place],
        ci_low=low,
        ci_high=high,
        p=found.change.p,
        null="; ".join(["a random walk with drift and memory", *_turn_doubts(found)]),
        # A change that a random walk has as well shows nothing, for or against.
        outcome="undecided" if found.change_step is None or _turn_doubts(found) else "holds",
    )


def _turn_doubts(found: PhaseChanges) -> list[str]:
    """Return what keeps the largest change from being one turn at one place."""
    assert found.change is not None
    doubts = {
        "at the edge of what was looked at, so it may lie beyond": found.is_at_edge,
        f"{len(found.changes)} changes are flagged, as where a path bends": len(found.changes) > 1,
        f"moves remember the one before by {MOST_MEMORY} or more, too much to take off; keep fewer "
        "checkpoints": found.change.memory >= MOST_MEMORY,
    }
    return [text for text, applies in doubts.items() if applies]


def _turn_row(found: PhaseChanges) -> Mapping[str, Any]:
    row: dict[str, Any] = {"path": found.name}
    if found.change is not None:
        row |= {
            "change_step": found.steps[found.change.place],
            "change_low": found.steps[found.change.ci_low],
            "change_high": found.steps[found.change.ci_high],
            "share": found.change.share,
            "p": found.change.p,
            "memory": found.change.memory,
            "is_at_edge": found.is_at_edge,
            "n_changes": len(found.changes),
        }
    for rotation in found.rotations:
        row |= {
            f"peak_step_k{rotation.k}": rotation.peak_step,
            f"peak_k{rotation.k}": rotation.peak,
            f"median_k{rotation.k}": rotation.baseline,
            f"peak_p_k{rotation.k}": rotation.p,
        }
    return row


def _shape(
    paths: Sequence[PhaseChanges],
    shown: list[PhaseChanges],
    gradient_norms: Sequence[tuple[int, float]],
) -> DrawnPart:
    first = paths[0]
    walk = sum(first.random_walk_shares)
    return DrawnPart(
        name="shape",
        title="The shape of the path",
        question="How straight is the path, and when was its final direction there?",
        claims=(
            Claim(
                source=_SOURCE,
                claim=f"Two components hold most of the path of {first.name} (95% there)",
                measured="share of the checkpoints' variance",
                value=sum(first.principal_shares),
                null=f"a random walk, whose first two hold {100 * walk:.0f}%",
                outcome="undecided",
            ),
        ),
        exhibits=[
            (
                Exhibit(
                    name="principal",
                    title="Checkpoints in the plane of their first two components",
                    shows="The path, dark where it ends; a ring at a change of direction. In "
                    "brackets the shares that a random walk has.",
                    shows_not="A turning point in the second component: the path of a random walk "
                    "has one half-way too (1806.08805).",
                ),
                lambda: plot_principal_paths(shown),
            ),
            (
                Exhibit(
                    name="growth",
                    title=f"Length and final direction of {first.name}",
                    shows="How long the weights are, how far they already point where they will "
                    "end, and the gradient norm before clipping where it was logged.",
                    shows_not="That the final direction was found where the line rises: every path "
                    "ends on its own end. What is above the dashed random walk says so.",
                ),
                lambda: plot_growth(first, gradient_norms),
            ),
        ],
        rows=[_shape_row(found) for found in paths],
    )


def _shape_row(found: PhaseChanges) -> Mapping[str, Any]:
    half = len(found.steps) // 2
    return {
        "path": found.name,
        "n_checkpoints": len(found.steps),
        "straightness": found.straightness,
        "start_length": found.norms[0],
        "end_length": found.norms[-1],
        "components_1_2": sum(found.principal_shares),
        "components_1_2_walk": sum(found.random_walk_shares),
        "half_way_cosine": found.final_cosines[half],
        "half_way_cosine_walk": found.random_walk_cosines[half],
    }


def _behaviour(
    path: PhaseChanges, behaviours: Sequence[Behaviour], onsets: Sequence[BehaviourOnset]
) -> DrawnPart:
    curves = [(b.label, b.steps, [_mean(row) for row in b.values]) for b in behaviours]
    label = behaviours[0].name
    return DrawnPart(
        name="behaviour",
        title="Behaviour along training",
        question="When does behaviour change, and does it lag behind the weights?",
        claims=tuple(_lag_claims(path, onsets)),
        exhibits=[
            (
                Exhibit(
                    name="behaviour",
                    title=f"{label} along training",
                    shows="Means over items with 95% t intervals, at each scale of what was "
                    "trained. Amber: the change of direction of the weights.",
                    shows_not="Other runs: intervals are over items. Scales above 1 are models "
                    "that training never was.",
                ),
                lambda: plot_behaviours(curves, label=label, phases=path),
            )
        ],
        rows=[
            {key: value for key, value in found.to_dict().items() if key != "draws"}
            for found in onsets
        ],
        notes=(
            f"The onset is where the monotone curve that fits best has gone "
            f"{100 * onsets[0].share:g}% of its way; there is none where first and last "
            "measurement do not differ.",
        ),
    )


def _mean(values: Any) -> Estimate:
    interval = mean_interval(np.asarray(values).tolist())
    return Estimate(
        value=float(np.mean(values)), ci_low=float(interval.low), ci_high=float(interval.high)
    )


def _lag_claims(path: PhaseChanges, onsets: Sequence[BehaviourOnset]) -> list[Claim]:
    claims = []
    for found in onsets:
        text = f"{found.name} changes after {path.name} turns"
        if found.step is None or path.change_step is None or _turn_doubts(path):
            lacks = "the behaviour did not change" if found.step is None else "no turn was placed"
            claims.append(_claim(text, f"no lag, as {lacks}", None))
            continue
        lag = onset_lag(
            found.draws, path.change_draws(), steps=(found.step, float(path.change_step))
        )
        claims.append(_claim(text, "lag in optimizer steps", lag))
    return claims


def _claim(text: str, measured: str, lag: Estimate | None) -> Claim:
    low, high = (None, None) if lag is None else (lag.ci_low, lag.ci_high)
    return Claim(
        source=_SOURCE,
        claim=text,
        measured=measured,
        value=None if lag is None else lag.value,
        ci_low=low,
        ci_high=high,
        null="both at the same step",
        outcome=outcome_above(low, high),
    )
