"""Turns a path into its projection on its end and its principal components, beside a random walk's.

Both look like a sudden change for a random walk too; what that gives comes with every value.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from spillover.analysis.trajectories import Curve, Trajectory, distances_from_start


@dataclass(frozen=True)
class FinalProjection:
    """How far along its final direction a path is, checkpoint by checkpoint."""

    along: Curve
    "Projection of the offset on the final direction, as a share of the whole; 0 first, 1 last."
    cosine: Curve
    "Cosine of the offset with the final direction; NaN at the first checkpoint."
    random_walk: Curve
    "What that cosine is for a random walk in many dimensions with moves of these lengths."


def final_projection(path: Trajectory) -> FinalProjection:
    """Project a path on the direction from its first to its last checkpoint.

    For full-rank runs, where there is no single vector whose turns could be looked at (2506.11613,
    section 4.3, projects on a direction as well). Any path ends on its own final direction: the
    cosine of a random walk rises as sqrt(t / T), and only what is above that says that the
    direction was there before. With o_t the offset at t, d_i the moves and T the end:

        E<o_t, o_T> = E|o_t|^2 = sum over i <= t of |d_i|^2

    Raises:
        ValueError: If first and last checkpoint are the same.
    """
    offsets = path.offset_products
    whole = float(offsets[-1, -1])
    if whole <= 0:
        raise ValueError(f"{path.name}: first and last checkpoint are the same; there is no path")
    lengths = distances_from_start(path)
    cosine = np.full(len(lengths), np.nan)
    np.divide(offsets[:, -1], lengths * lengths[-1], out=cosine, where=lengths > 0)
    gone = np.concatenate([[0.0], np.diag(path.products).cumsum()])
    return FinalProjection(
        along=offsets[:, -1] / whole,
        cosine=np.clip(cosine, -1, 1),
        random_walk=np.sqrt(gone / gone[-1]),
    )


@dataclass(frozen=True)
class PrincipalPath:
    """A path in the plane, or space, in which its checkpoints vary most."""

    scores: Float[np.ndarray, "checkpoint component"]
    shares: Float[np.ndarray, " component"]
    "Of the checkpoints' variance."
    random_walk: Float[np.ndarray, " component"]
    "The same of a long random walk in many dimensions."


def principal_path(path: Trajectory, *, n_components: int = 2) -> PrincipalPath:
    """Principal components of the checkpoints, as in 2506.11613, section 4.2 (there of B).

    A random walk in many dimensions looks like a path with a turning point too: its components
    are cosines of growing frequency, the second turns half-way, and component k holds a share of
    6 / (pi k)^2: 61% and 15% (1806.08805, section 2). A turning point in the second component is
    therefore no sign of a phase change, nor is a large share of the first two.

    Args:
        path: The path.
        n_components: How many.

    Raises:
        ValueError: If there are fewer checkpoints than components.
    """
    n = len(path.steps)
    if not 1 <= n_components < n:
        raise ValueError(f"{n_components} components of {n} checkpoints; give from 1 to {n - 1}")
    offsets = path.offset_products
    centred = offsets - offsets.mean(axis=0) - offsets.mean(axis=1)[:, None] + offsets.mean()
    values, vectors = np.linalg.eigh(centred)
    values, vectors = np.clip(values[::-1], 0, None), vectors[:, ::-1]
    kept = vectors[:, :n_components] * np.sqrt(values[:n_components])
    # Signs are arbitrary: each component ends at or above where it begins.
    signs = np.where(kept[-1] >= kept[0], 1.0, -1.0)
    total = values.sum()
    shares = values[:n_components] / total if total > 0 else np.zeros(n_components)
    order = np.arange(1, n_components + 1)
    return PrincipalPath(kept * signs, shares, 6 / (np.pi * order) ** 2)
