"""Turns a curve into two straight pieces that meet at a knee, and says if one would have done.

Knows nothing of what the curve is of.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from spillover.records import Record

Values = Float[np.ndarray, " point"]


@dataclass(frozen=True, kw_only=True)
class Knee(Record):
    """Two straight pieces that meet."""

    knee: float
    "Where they meet."
    value: float
    "The height there."
    slope_before: float
    "A unit of x."
    slope_after: float
    share: float
    "Share of what one straight line leaves unexplained that the second piece explains, in [0, 1]."
    p: float | None = None
    "P(a straight line with the same scatter gives as large a share); None where not tested."


def two_segment_fit(
    x: Values, y: Values, *, rng: np.random.Generator | None = None, n_draws: int = 499
) -> Knee:
    """Fit y = a + b x + c max(0, x - knee) by least squares.

    Given a knee, the rest is a linear fit; all places between the second and the last but one x
    are tried. A curve that flattens evenly is bent by more than noise too, so a small p says that
    it is no straight line, not that there are two phases.

    Args:
        x: At least four different places, in any order.
        y: The curve's values.
        rng: Permutes residuals of the straight line for p; None for no p.
        n_draws: Permutations.

    Raises:
        ValueError: If the two differ in length, there are fewer than four different places, or a
            value is not finite.

    Example:
        >>> fit = two_segment_fit(np.arange(7.0), np.array([6.0, 4, 2, 0, 0, 0, 0]))
        >>> fit.knee, round(fit.slope_before, 6), abs(round(fit.slope_after, 6))
        (3.0, -2.0, 0.0)
    """
    if len(x) != len(y) or len(np.unique(x)) < 4 or not np.isfinite([x, y]).all():
        raise ValueError(
            f"{len(x)} places, {len(np.unique(x))} of them different, and {len(y)} values; a fit "
            "of two segments needs four different places with a finite value each"
        )
    order = np.argsort(x, kind="stable")
    x, y = x[order].astype(np.float64), y[order].astype(np.float64)
    knees = _places(x)
    bases = np.stack([_orthonormal(_design(x, knee)) for knee in knees])
    line = _orthonormal(np.stack([np.ones_like(x), x], axis=1))
    best, share = _best(bases, line, y)
    (start, before, bend), *_ = np.linalg.lstsq(_design(x, knees[best]), y, rcond=None)
    return Knee(
        knee=float(knees[best]),
        value=float(start + before * knees[best]),
        slope_before=float(before),
        slope_after=float(before + bend),
        share=share,
        p=None if rng is None else _straight_p(bases, line, y, share, rng=rng, n_draws=n_draws),
    )


def _places(x: Values) -> Float[np.ndarray, " knee"]:
    """Knees that are tried: the inner points and nine places between neighbours."""
    inner = np.unique(x)[1:-1]
    between = np.concatenate(
        [np.linspace(a, b, 11) for a, b in itertools.pairwise(inner)] or [inner]
    )
    return np.unique(np.concatenate([inner, between]))


def _design(x: Values, knee: float) -> Float[np.ndarray, "point 3"]:
    return np.stack([np.ones_like(x), x, np.maximum(0.0, x - knee)], axis=1)


def _orthonormal(design: Float[np.ndarray, "point column"]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.qr(design).Q)


def _best(
    bases: Float[np.ndarray, "knee point 3"], line: Float[np.ndarray, "point 2"], y: Values
) -> tuple[int, float]:
    """Return the best knee, and what share of the line's residual its second piece explains."""
    rest = y - line @ (line.T @ y)
    left = float(rest @ rest)
    if left <= 1e-20 * max(1.0, float(y @ y)):
        return 0, 0.0
    explained = ((bases.transpose(0, 2, 1) @ rest) ** 2).sum(axis=1)
    best = int(explained.argmax())
    return best, float(min(1.0, explained[best] / left))


def _straight_p(
    bases: Float[np.ndarray, "knee point 3"],
    line: Float[np.ndarray, "point 2"],
    y: Values,
    share: float,
    *,
    rng: np.random.Generator,
    n_draws: int,
) -> float:
    """Permute the residuals of a straight line (Freedman and Lane 1983)."""
    rest = y - line @ (line.T @ y)
    drawn = [_best(bases, line, rng.permutation(rest))[1] for _ in range(n_draws)]
    return (1 + sum(value >= share - 1e-12 for value in drawn)) / (1 + n_draws)


def first_crossing(x: Values, y: Values, *, threshold: float) -> float | None:
    """Return where a curve first goes below a threshold, straight lines between its points.

    Args:
        x: Places in ascending order.
        y: The curve's values.
        threshold: The height that is looked for.

    Returns:
        The place; None if the curve never goes below.

    Example:
        >>> first_crossing(np.array([0.0, 10.0, 20.0]), np.array([4.0, 2.0, 0.0]), threshold=1.0)
        15.0
        >>> first_crossing(np.array([0.0, 10.0]), np.array([4.0, 2.0]), threshold=1.0) is None
        True
    """
    below = np.flatnonzero(y < threshold)
    if len(below) == 0:
        return None
    at = int(below[0])
    if at == 0:
        return float(x[0])
    part = (y[at - 1] - threshold) / (y[at - 1] - y[at])
    return float(x[at - 1] + part * (x[at] - x[at - 1]))
