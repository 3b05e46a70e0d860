"""Turns counts and small samples into intervals.

Knows nothing of prompts, models or pairs; for differences see `paired`, for the bootstrap see
`resampling`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, sem, t


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A two-sided confidence interval, in the units of what it is about."""

    low: float
    high: float


def wilson_interval(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval for a proportion (Wilson 1927, JASA 22:209).

    It stays inside [0, 1] and keeps a width at 0 of n and n of n, where the textbook interval
    shrinks to a point.

    Args:
        successes: How many of the n had the property, from 0 to n.
        n: Number of independent trials, at least 1.
        level: Confidence level in the open interval (0, 1).

    Returns:
        The interval for the proportion, in [0, 1].

    Raises:
        ValueError: If `n` is not positive, `successes` is not in [0, n], or `level` is no level.

    Example:
        >>> interval = wilson_interval(0, 10)  # the upper limit is z^2 / (n + z^2)
        >>> interval.low, round(interval.high, 4)
        (0.0, 0.2775)
    """
    require_level(level)
    if n < 1:
        raise ValueError(f"n is {n}; a proportion needs at least one trial")
    if not 0 <= successes <= n:
        raise ValueError(f"successes is {successes}; it must lie between 0 and n, which is {n}")
    limits = binomtest(successes, n).proportion_ci(level, method="wilson")
    return Interval(low=float(limits.low), high=float(limits.high))


def mean_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """Student's t interval for the mean of a small sample, such as one value per seed.

    Args:
        values: Independent values, at least two.
        level: Confidence level in the open interval (0, 1).

    Returns:
        The interval, in the units of the values. It is not clipped, so for rates it can leave
        [0, 1]. Equal values give an interval without width.

    Raises:
        ValueError: If there are fewer than two values, one is not finite, or `level` is no level.

    Example:
        >>> interval = mean_interval([1.0, 3.0])  # 2 +/- 12.706 * 1
        >>> round(interval.low, 3), round(interval.high, 3)
        (-10.706, 14.706)
    """
    require_level(level)
    sample = np.asarray(values, dtype=np.float64)
    if sample.size < 2:
        raise ValueError(f"{sample.size} value(s); an interval for a mean needs at least two")
    if not np.isfinite(sample).all():
        raise ValueError(f"values {list(values)} are not all finite; leave out what has no value")
    mean = float(sample.mean())
    half_width = float(t.ppf((1 + level) / 2, sample.size - 1) * sem(sample))
    return Interval(low=mean - half_width, high=mean + half_width)


def require_level(level: float) -> None:
    """Refuse a confidence level that is not one.

    Raises:
        ValueError: If `level` is not in the open interval (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie in the open interval (0, 1), such as 0.95")
