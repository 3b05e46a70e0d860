"""Turns a sequence of checkpoints into the inner products of their moves, and those into geometry.

A path of n + 1 checkpoints has n moves. Lengths, angles, projections and principal components all
follow from the n by n inner products of the moves, so that a path of whole models takes no more
memory than that of one vector, and is read in pieces. Does not know what the weights are of.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from spillover.stats.change_points import Products, block_sums

Curve = Float[np.ndarray, " checkpoint"]


@dataclass(frozen=True)
class Trajectory:
    """A path through weights, by the inner products of its moves."""

    name: str
    steps: tuple[int, ...]
    "Optimizer steps of the checkpoints, ascending."
    products: Products = field(repr=False)
    "Inner products of the moves between neighbouring checkpoints."
    start_norm: float
    "Length of the first checkpoint itself."
    start_products: Float[np.ndarray, " move"] = field(repr=False)
    "Inner products of the first checkpoint with the moves."

    def __post_init__(self) -> None:
        """Check that steps ascend and fit the moves.

        Raises:
            ValueError: If not.
        """
        n = len(self.steps) - 1
        ascending = all(a < b for a, b in zip(self.steps[:-1], self.steps[1:], strict=True))
        if n < 1 or not ascending or self.products.shape != (n, n):
            raise ValueError(
                f"{self.name}: {len(self.steps)} steps {self.steps[:3]}... and moves of shape "
                f"{self.products.shape}; give two checkpoints or more, in ascending order of steps"
            )

    @property
    def offset_products(self) -> Float[np.ndarray, "checkpoint checkpoint"]:
        """Inner products of the checkpoints' offsets from the first one."""
        return block_sums(self.products)


def trajectory(
    steps: Sequence[int], pieces: Iterable[Float[Tensor, "checkpoint _"]], *, name: str
) -> Trajectory:
    """Return the path through checkpoints.

    Sums are in float64, of moves rather than of weights, whose inner products would round away
    what few steps change in a large model.

    Args:
        steps: The optimizer step of each checkpoint, ascending.
        pieces: Parts of the weights, each with one row a checkpoint; they are read one at a time,
            so that a whole model need not fit into memory as often as there are checkpoints.
        name: What moves.

    Raises:
        ValueError: If there are no pieces, or one has another number of rows than there are steps.

    Example:
        >>> corner = torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]])
        >>> trajectory([0, 5, 10], [corner], name="corner").products.tolist()
        [[9.0, 0.0], [0.0, 16.0]]
    """
    n = len(steps) - 1
    products, start_products, start = np.zeros((n, n)), np.zeros(n), 0.0
    n_pieces = 0
    for piece in pieces:
        if len(piece) != len(steps):
            raise ValueError(f"{name}: {len(piece)} rows for {len(steps)} checkpoints")
        points = piece.detach().to(dtype=torch.float64).cpu()
        moves = points.diff(dim=0)
        products += (moves @ moves.T).numpy()
        start_products += (moves @ points[0]).numpy()
        start += float(points[0] @ points[0])
        n_pieces += 1
    if n_pieces == 0:
        raise ValueError(f"{name}: no weights; give at least one piece")
    return Trajectory(name, tuple(steps), products, start**0.5, start_products)


def update_trajectory(
    steps: Sequence[int],
    factors: Iterable[tuple[Float[Tensor, "checkpoint _ _"], Float[Tensor, "checkpoint _ _"]]],
    *,
    name: str = "BA",
) -> Trajectory:
    """Return the path of what LoRA adds to the weights, from its factors A and B.

    The factors themselves are not unique: B can be twice as long and A half. Their product is,
    and its inner products need no product: <B1 A1, B2 A2> = sum((B1^T B2) * (A1 A2^T)), which
    takes rank^2 times the work of the factors' own paths.

    Args:
        steps: The optimizer step of each checkpoint, ascending.
        factors: For each module A (checkpoint, rank, d_in) and B (checkpoint, d_out, rank) of all
            checkpoints; B times the adapter's scale.
        name: What moves.

    Raises:
        ValueError: If there are no factors.

    Example:
        >>> a = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # two checkpoints, rank 1
        >>> b = torch.tensor([[[2.0]], [[3.0]]])
        >>> update_trajectory([0, 1], [(a, b)]).products.tolist()  # (2, 0) to (0, 3)
        [[13.0]]
    """
    gram = np.zeros((len(steps), len(steps)))
    n_modules = 0
    for a, b in factors:
        of_a = torch.einsum("iru,jsu->ijrs", a.double(), a.double())
        of_b = torch.einsum("ivr,jvs->ijrs", b.double(), b.double())
        gram += (of_a * of_b).sum(dim=(2, 3)).cpu().numpy()
        n_modules += 1
    if n_modules == 0:
        raise ValueError(f"{name}: no factors; give those of at least one module")
    return Trajectory(
        name,
        tuple(steps),
        np.diff(np.diff(gram, axis=0), axis=1),
        float(np.sqrt(gram[0, 0])),
        np.diff(gram[0]),
    )


def distances_from_start(path: Trajectory) -> Curve:
    """Length of each checkpoint's offset from the first."""
    return np.asarray(np.sqrt(np.clip(np.diag(path.offset_products), 0, None)))


def norms(path: Trajectory) -> Curve:
    """Length of each checkpoint's weights: the norm growth of 2506.11613."""
    along = np.concatenate([[0.0], path.start_products.cumsum()])
    squares = path.start_norm**2 + 2 * along + np.diag(path.offset_products)
    return np.asarray(np.sqrt(np.clip(squares, 0, None)))


def straightness(path: Trajectory) -> float:
    """Distance from first to last checkpoint as a share of the way that was gone, in [0, 1].

    About 1 / sqrt(n) for a random walk of n equal moves in many dimensions. NaN if nothing moved.

    Example:
        >>> corner = torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]])
        >>> round(straightness(trajectory([0, 1, 2], [corner], name="corner")), 6)  # 5 / 7
        0.714286
    """
    gone = float(np.sqrt(np.clip(np.diag(path.products), 0, None)).sum())
    return float(distances_from_start(path)[-1]) / gone if gone > 0 else float("nan")


def local_cosines(path: Trajectory, *, k: int, min_distance: float = 0.0) -> Curve:
    """Local cosine of 2506.11613, appendix F, at every checkpoint.

        lc_k(t) = cos(v[t-k] - v[t], v[t+k] - v[t])

    -1 on a straight path, 0 at a right-angled turn, +1 where the path turns back. k counts
    checkpoints, as in the paper's code, not optimizer steps.

    Args:
        path: The path.
        k: How far is looked back and ahead.
        min_distance: The paper's tau: where the longer of the two offsets is not above it, there
            is no value. 0.0035 (medical) and 0.002 (others) there, for one B vector.

    Returns:
        One value a checkpoint; NaN in the first and last k, and where one offset has no length.

    Raises:
        ValueError: If k is below 1.

    Example:
        >>> corner = torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0], [3.0, 8.0]])
        >>> local_cosines(trajectory(range(4), [corner], name="corner"), k=1).tolist()
        [nan, -0.0, -1.0, nan]
    """
    if k < 1:
        raise ValueError(f"k is {k}; look at least one checkpoint back and ahead")
    found = np.full(len(path.steps), np.nan)
    inner = local_cosines_of(block_sums(path.products), k=k, min_distance=min_distance)
    found[k : len(path.steps) - k] = inner
    return found


def local_cosines_of(
    sums: Float[np.ndarray, "edge edge"], *, k: int, min_distance: float = 0.0
) -> Float[np.ndarray, " place"]:
    """The same at the places that have k neighbours on both sides, from sums of products."""
    t = np.arange(k, len(sums) - k)
    back = _block(sums, t - k, t, t - k, t)
    ahead = _block(sums, t, t + k, t, t + k)
    both = _block(sums, t - k, t, t, t + k)
    lengths = np.sqrt(np.clip(back, 0, None) * np.clip(ahead, 0, None))
    is_far = np.maximum(back, ahead) > min_distance**2
    found = np.full(len(t), np.nan)
    # The move back is minus the sum of the k moves before t.
    np.divide(-both, lengths, out=found, where=is_far & (lengths > 0))
    return np.asarray(np.clip(found, -1, 1))


def _block(
    sums: NDArray[np.float64],
    top: NDArray[np.int64],
    bottom: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
) -> NDArray[np.float64]:
    return np.asarray(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])
