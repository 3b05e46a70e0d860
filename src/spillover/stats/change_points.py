"""Turns a path, as inner products of its moves, into where it changes direction, with a p-value.

A path of n + 1 points has n moves; only their inner products are needed, so that a path through
millions of dimensions is an n by n matrix. Knows nothing of what moves.

The null is a random walk, with or without a drift: moves that could as well have come in another
order. What moves share with the one before, as an optimiser's do, is taken off first.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from spillover.records import Record
from spillover.stats.intervals import require_level

Products = Float[np.ndarray, "move move"]

MOST_MEMORY = 0.97
"The largest memory that is taken off; moves that reach it may remember more than is taken off."

# Directions whose spread is below this share of their length are one direction but for rounding.
_STRAIGHT = 1e-9


@dataclass(frozen=True, kw_only=True)
class ChangePoint(Record):
    """Where a path changes direction most, and whether a random walk does so as well."""

    place: int
    "Moves before the change, which is at the point of that number, from 0."
    ci_low: int
    "Percentiles of the place over resampled moves, each side of the change resampled by itself."
    ci_high: int
    share: float
    "Share of the spread of the moves' directions that one change here explains, in [0, 1]."
    p: float
    "P(a random walk has a point with as large a share)."
    draws: tuple[int, ...] = ()
    "The place in each resample, from which the interval is."
    memory: float = 0.0
    "What was taken off before the test of what a move keeps of the one before: an upper limit."


def unit_products(products: Products) -> Products:
    """Inner products of the moves' directions; a move of no length keeps length 0.

    Example:
        >>> unit_products(np.array([[4.0, 0.0], [0.0, 9.0]])).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    lengths = np.sqrt(np.clip(np.diag(products), 0, None))
    scales = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.asarray(products * scales[:, None] * scales[None, :])


def block_sums(products: Products) -> Float[np.ndarray, "edge edge"]:
    """Sums from the corner, so that any block's sum takes four look-ups; a zero row and column."""
    return np.pad(products.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))


def split_shares(products: Products) -> Float[np.ndarray, " split"]:
    """Share of the moves' spread explained by a change of their mean after t = 1 ... n - 1 moves.

    With S_t the sum of the first t of n moves, the between-groups sum of squares of a split is
    n / (t (n - t)) |S_t - t/n S_n|^2; it is divided by the moves' whole spread about their mean.
    All 0 where every move is the same.

    Example:
        >>> split_shares(np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])).tolist()  # right turn
        [0.25, 1.0]
    """
    n = len(products)
    rows = products.cumsum(axis=1)
    # |S_t|^2 grows by the products of move t with itself and, twice, with those before it.
    squares = (2 * np.diag(rows) - np.diag(products)).cumsum()
    with_all = rows[:, -1].cumsum()
    whole = float(with_all[-1])
    spread = float(np.trace(products)) - whole / n
    t = np.arange(1, n)
    if spread <= _STRAIGHT * float(np.trace(products)):
        return np.zeros(n - 1)
    apart = squares[:-1] - 2 * t / n * with_all[:-1] + (t / n) ** 2 * whole
    shares: NDArray[np.float64] = n / (t * (n - t)) * apart / spread
    return np.clip(np.round(shares, 12), 0.0, 1.0)


def memory_of(products: Products) -> float:
    """How much a move's direction keeps of the one before, from 0 to 0.97.

    The correlation of neighbours about the mean direction, which may change once: each side of the
    largest of `split_shares` has its own mean, lest a turn look like memory. Taking off a mean of
    n / 2 values makes their correlation too small by (1 + 3 memory) / (n / 2), which is given back
    (Kendall 1954, Biometrika 41:403).
    """
    return _clipped(_memory(_rest(unit_products(products))))


def memory_limit(products: Products, *, z: float = 1.64) -> float:
    """An upper limit of `memory_of`, which a test takes off; too little leaves a slow wandering.

    It lies `z` standard errors, sqrt((1 - memory^2) / (n d)), above the estimate, d being the
    dimensions in which what is new in the moves spreads, by its participation ratio.
    """
    rest = _rest(unit_products(products))
    found, n = _memory(rest), len(rest)
    new = _without(rest, _clipped(found))
    squares = float((new**2).sum())
    if n < 3 or squares <= 0 or float(np.trace(rest)) <= _STRAIGHT * n:
        return _clipped(found)
    # Of n points in d dimensions the ratio is about 1 / (1 / d + 1 / n).
    dimensions = 1 / max(squares / float(np.trace(new)) ** 2 - 1 / len(new), 1e-6)
    error = np.sqrt(max(1 - found**2, 0.0) / (n * dimensions))
    return _clipped(found + z * float(error))


def _rest(units: Products) -> Products:
    """Products of the moves' directions about the mean direction of their side of a change."""
    n, at = len(units), int(split_shares(units).argmax()) + 1
    sides = np.zeros((n, n))
    sides[:at, :at], sides[at:, at:] = 1 / at, 1 / (n - at)
    centre = np.eye(n) - sides
    return np.asarray(centre @ units @ centre)


def _memory(rest: Products) -> float:
    n, spread = len(rest), float(np.trace(rest))
    if n < 3 or spread <= _STRAIGHT * n:
        return 0.0
    seen = float(np.diag(rest, 1).sum()) / spread
    return (seen + 2 / n) / max(1 - 6 / n, 0.5)


def _clipped(memory: float) -> float:
    return float(np.clip(memory, 0.0, MOST_MEMORY))


def without_memory(products: Products, *, memory: float) -> Float[np.ndarray, "new new"]:
    """Products of what is new in each move: its direction less `memory` times the one before.

    A random walk whose moves are memory times the one before plus noise becomes one without
    memory, in which a change of drift stays where it was. One move fewer, the first.

    Example:
        >>> moves = np.array([[1.0, 0.0], [0.0, 1.0]])  # what is new: (0, 1) - 0.5 (1, 0)
        >>> without_memory(moves @ moves.T, memory=0.5).tolist()
        [[1.25]]
    """
    return _without(unit_products(products), memory)


def _without(products: Products, memory: float) -> Float[np.ndarray, "new new"]:
    takes = np.eye(len(products))[1:] - memory * np.eye(len(products))[:-1]
    return np.asarray(takes @ products @ takes.T)


def find_change_point(
    products: Products,
    *,
    rng: np.random.Generator,
    n_draws: int = 499,
    min_moves: int = 5,
    memory: float | None = None,
    level: float = 0.95,
) -> ChangePoint:
    """Find the point where a path changes direction most, and test it against a random walk.

    The statistic is the largest of `split_shares` over the moves' directions: their lengths, which
    follow the learning rate, do not matter. Of a random walk the order of moves is arbitrary, so
    that comparing with shuffled moves gives an exact test: of random walks a share `alpha` has p
    at most `alpha`. It is a test against any change of direction: a path that bends evenly is no
    random walk either, and is flagged near its middle.

    Args:
        products: Inner products of the moves.
        rng: Shuffles and resamples.
        n_draws: Shuffles for p, and resamples for the interval.
        min_moves: Fewest moves on either side of a change.
        memory: What a move keeps of the one before, in [0, 1); None for `memory_limit`. 0 makes the
            test exact for walks without memory, and far too keen on those with it.
        level: Confidence level of the interval.

    Raises:
        ValueError: If there are fewer than two times `min_moves` moves, or a setting is out of
            range.
    """
    require_level(level)
    n = len(products)
    kept = memory_limit(products) if memory is None else memory
    if n < 2 * min_moves or min_moves < 2 or n_draws < 1 or not 0 <= kept < 1:
        raise ValueError(
            f"{n} moves, {min_moves} at least on either side, {n_draws} draws and a memory of "
            f"{kept}; give two moves, one draw and a memory below 1 at least, and more "
            "checkpoints or a smaller min_moves"
        )
    new = without_memory(products, memory=kept)
    fewest = min_moves - 1  # The first move, which has none before it, is out.
    place, share = _largest(new, fewest)
    if share == 0.0:  # Perfectly straight: no order of its moves differs from another.
        return ChangePoint(place=place + 1, ci_low=min_moves, ci_high=n - min_moves, share=0, p=1)
    p = _walk_p(new, share, fewest, rng=rng, n_draws=n_draws)
    places = [
        1 + _largest(new[np.ix_(moves, moves)], fewest)[0]
        for moves in _resampled_moves(n - 1, place, rng=rng, n_draws=n_draws)
    ]
    low, high = np.quantile(places, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return ChangePoint(
        place=place + 1,
        ci_low=min(int(low), place + 1),
        ci_high=max(int(high), place + 1),
        share=share,
        p=p,
        draws=tuple(places),
        memory=kept,
    )


def _largest(new: Products, fewest: int) -> tuple[int, float]:
    """Return the best split and its share."""
    # On the right no move is out, so that one more has to be there.
    shares = split_shares(new)[fewest - 1 : len(new) - fewest - 1]
    best = int(shares.argmax())
    return best + fewest, float(shares[best])


def _walk_p(
    new: Products, share: float, fewest: int, *, rng: np.random.Generator, n_draws: int
) -> float:
    drawn = []
    for _ in range(n_draws):
        order = rng.permutation(len(new))
        drawn.append(_largest(new[np.ix_(order, order)], fewest)[1])
    return (1 + sum(value >= share - 1e-12 for value in drawn)) / (1 + n_draws)


def _resampled_moves(
    n: int, place: int, *, rng: np.random.Generator, n_draws: int
) -> list[Int[np.ndarray, " move"]]:
    """Draw moves with replacement, on either side of the change from that side."""
    return [
        np.concatenate([rng.integers(place, size=place), rng.integers(place, n, size=n - place)])
        for _ in range(n_draws)
    ]


def find_change_points(
    products: Products,
    *,
    rng: np.random.Generator,
    alpha: float = 0.05,
    n_draws: int = 499,
    min_moves: int = 5,
    memory: float | None = None,
) -> list[ChangePoint]:
    """Find all changes of direction by splitting a path where it changes, again and again.

    A part is split where `find_change_point` has p <= `alpha`; its parts are then looked at in the
    same way. That the whole path of a random walk is split has probability `alpha`; of a path that
    really turns once, each of the two parts is split again with probability `alpha`.

    Args:
        products: Inner products of the moves.
        rng: Shuffles and resamples.
        alpha: Rate at which a random walk is split.
        n_draws: Shuffles of each part.
        min_moves: Fewest moves of a part.
        memory: As in `find_change_point`; None estimates it in each part.

    Returns:
        Changes in order; places count from the start of the whole path.
    """
    n = len(products)
    if n < 2 * min_moves:
        return []
    found = find_change_point(
        products, rng=rng, n_draws=n_draws, min_moves=min_moves, memory=memory
    )
    if found.p > alpha:
        return []
    at = found.place
    left, right = (
        find_change_points(
            part, rng=rng, alpha=alpha, n_draws=n_draws, min_moves=min_moves, memory=memory
        )
        for part in (products[:at, :at], products[at:, at:])
    )
    return [*left, found, *(moved(point, by=at) for point in right)]


def moved(point: ChangePoint, *, by: int) -> ChangePoint:
    """Return a change point whose places count from `by` moves earlier."""
    return replace(
        point,
        place=point.place + by,
        ci_low=point.ci_low + by,
        ci_high=point.ci_high + by,
        draws=tuple(place + by for place in point.draws),
    )
