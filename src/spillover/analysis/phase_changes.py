"""Turns the path of an adapter or a model through training into its phase changes, with nulls.

The measures are those of 2506.11613, section 4 and appendix F. The paper has no null for them; here
every turn is held against a random walk. Departures from the paper:

1. A change point is tested and has an interval; the paper reads the peak of the local cosine off.
2. The path may be that of B, of A, of their product, or of all weights, of one module or of all.
3. The first move is left out of the change point where the path starts at 0 (`skip`): any move away
   from 0 is a change of direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from spillover.analysis.nulls import permutation_p
from spillover.analysis.path_shapes import final_projection, principal_path
from spillover.analysis.trajectories import (
    Trajectory,
    local_cosines,
    local_cosines_of,
    norms,
    straightness,
)
from spillover.records import Record
from spillover.stats.change_points import (
    MOST_MEMORY,
    ChangePoint,
    block_sums,
    find_change_point,
    find_change_points,
    moved,
)

Numbers = tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Rotation(Record):
    """The local cosine along a path, for one k."""

    k: int
    "In checkpoints."
    cosines: Numbers
    "One a checkpoint; None where there is none."
    peak_step: int | None
    "Where it is largest: the sharpest turn."
    peak: float | None
    baseline: float | None
    "Its median."
    p: float | None
    "P(a random walk with moves of these lengths and directions has as high a peak)."


@dataclass(frozen=True, kw_only=True)
class PhaseChanges(Record):
    """What the path of some weights through training looks like."""

    name: str
    steps: tuple[int, ...]
    norms: Numbers
    "Length of the weights at each checkpoint."
    straightness: float | None
    "Distance from start to end as a share of the way gone; None if nothing moved."
    rotations: tuple[Rotation, ...]
    change: ChangePoint | None
    "The largest change of direction, real or not; None where there are too few checkpoints."
    is_at_edge: bool
    "That change is at the first or last place that was looked at, so it may lie beyond."
    changes: tuple[ChangePoint, ...]
    "All that a random walk would have with probability `alpha` only; places count checkpoints."
    principal: tuple[tuple[float, ...], ...]
    "Each checkpoint in the plane of the first two principal components."
    principal_shares: tuple[float, ...]
    random_walk_shares: tuple[float, ...]
    along_final: Numbers
    "Projection on the direction from first to last checkpoint, as a share."
    final_cosines: Numbers
    random_walk_cosines: Numbers
    "What these cosines are for a random walk."
    alpha: float

    @property
    def change_step(self) -> int | None:
        """The optimizer step of the largest change of direction.

        None if a random walk has one as large, or if it is at an edge of what was looked at: then
        only its being there is known, not its place. An optimiser's first steps look like this.
        None as well where moves remember more than can be taken off: then p is too small.
        """
        if self.change is None or self.is_at_edge or self.change.p > self.alpha:
            return None
        if self.change.memory >= MOST_MEMORY:
            return None
        return self.steps[self.change.place]

    @property
    def change_interval(self) -> tuple[int, int] | None:
        """Optimizer steps between which that change is; None as above."""
        if self.change is None or self.change_step is None:
            return None
        return self.steps[self.change.ci_low], self.steps[self.change.ci_high]

    def change_draws(self) -> list[float]:
        """The step of the change in each resample; empty where there is none."""
        if self.change is None or self.change_step is None:
            return []
        return [float(self.steps[place]) for place in self.change.draws]


def phase_changes(
    path: Trajectory,
    *,
    rng: np.random.Generator,
    ks: Sequence[int] = (5, 10, 15),
    min_distance: float = 0.0,
    alpha: float = 0.05,
    n_draws: int = 499,
    min_moves: int = 5,
    memory: float | None = None,
    skip: int = 0,
) -> PhaseChanges:
    """Measure the path of some weights through training.

    Args:
        path: From `trajectory` or `update_trajectory`.
        rng: Shuffles and resamples.
        ks: For the local cosine, in checkpoints: 5, 10 and 15 in the paper. Those that need more
            checkpoints than there are give no values.
        min_distance: The paper's tau; see `local_cosines`.
        alpha: Rate at which a random walk is said to have a change point.
        n_draws: Shuffles of each null, and resamples of the change point's interval.
        min_moves: Fewest moves on either side of a change point.
        memory: What a move keeps of the one before; None estimates it. For the change point only:
            the null of the local cosine's peak is a walk without memory.
        skip: Moves at the start that the change point does not see.

    Returns:
        Everything that is shown of the path.
    """
    n_moves = len(path.products) - skip
    seen = path.products[skip:, skip:]
    change, changes = None, []
    if n_moves >= 2 * min_moves:
        change = find_change_point(
            seen, rng=rng, n_draws=n_draws, min_moves=min_moves, memory=memory
        )
        changes = find_change_points(
            seen, rng=rng, alpha=alpha, n_draws=n_draws, min_moves=min_moves, memory=memory
        )
    projected = final_projection(path)
    principal = principal_path(path, n_components=min(2, len(path.steps) - 1))
    way = straightness(path)
    return PhaseChanges(
        name=path.name,
        steps=path.steps,
        norms=_numbers(norms(path)),
        straightness=way if np.isfinite(way) else None,
        rotations=_rotations(path, ks, rng=rng, min_distance=min_distance, n_draws=n_draws),
        change=None if change is None else moved(change, by=skip),
        is_at_edge=change is not None and change.place in (min_moves, n_moves - min_moves),
        changes=tuple(moved(point, by=skip) for point in changes),
        principal=tuple(tuple(row) for row in principal.scores.tolist()),
        principal_shares=tuple(principal.shares.tolist()),
        random_walk_shares=tuple(principal.random_walk.tolist()),
        along_final=_numbers(projected.along),
        final_cosines=_numbers(projected.cosine),
        random_walk_cosines=_numbers(projected.random_walk),
        alpha=alpha,
    )


def _numbers(values: Float[np.ndarray, " checkpoint"]) -> Numbers:
    return tuple(float(value) if np.isfinite(value) else None for value in values)


def _rotations(
    path: Trajectory,
    ks: Sequence[int],
    *,
    rng: np.random.Generator,
    min_distance: float,
    n_draws: int,
) -> tuple[Rotation, ...]:
    """Measure the local cosine for every k; their peaks' nulls are of the same shuffled paths."""
    cosines = {k: local_cosines(path, k=k, min_distance=min_distance) for k in ks}
    known = [k for k, values in cosines.items() if np.isfinite(values).any()]
    drawn: dict[int, list[float]] = {k: [] for k in known}
    for _ in range(n_draws if known else 0):
        order = rng.permutation(len(path.products))
        sums = block_sums(path.products[np.ix_(order, order)])
        for k in known:
            values = local_cosines_of(sums, k=k, min_distance=min_distance)
            drawn[k].append(float(np.nanmax(values)) if np.isfinite(values).any() else -1.0)
    return tuple(_rotation(path, k, cosines[k], drawn.get(k, [])) for k in ks)


def _rotation(
    path: Trajectory, k: int, cosines: Float[np.ndarray, " checkpoint"], drawn: Sequence[float]
) -> Rotation:
    found = cosines[np.isfinite(cosines)]
    if len(found) == 0:
        return Rotation(
            k=k, cosines=_numbers(cosines), peak_step=None, peak=None, baseline=None, p=None
        )
    peak = float(found.max())
    return Rotation(
        k=k,
        cosines=_numbers(cosines),
        peak_step=path.steps[int(np.nanargmax(cosines))],
        peak=peak,
        baseline=float(np.median(found)),
        p=float(permutation_p(peak, np.array(drawn), alternative="greater")),
    )


def comparison_score(
    first: Float[np.ndarray, "adapter d"], second: Float[np.ndarray, "adapter d"]
) -> float:
    """Compare several adapters' vectors at two checkpoints: 2506.11613, appendix F.

        comp(X, Y) = |X^T Y|_F / (|X|_F |Y|_F), vectors as columns

    With one adapter it is the absolute cosine; with n it lies in [0, 1], and reaches 1 only where
    all vectors lie along one line. The paper takes the vectors' mean at each step off
    first, its code that over checkpoints; here that is left to the caller.

    Args:
        first: One row for each adapter.
        second: The same adapters in the same order.

    Raises:
        ValueError: If one of them is all 0.

    Example:
        >>> round(comparison_score(np.array([[3.0, 4.0]]), np.array([[4.0, 3.0]])), 6)  # 24 / 25
        0.96
    """
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    if lengths == 0:
        raise ValueError("all vectors of a checkpoint are 0; give the same adapters twice, trained")
    return float(np.linalg.norm(first @ second.T)) / lengths  # Vectors are rows here.
