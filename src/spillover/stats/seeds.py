"""Turns one number per seed, before and after, into a difference over seeds.

With two or three seeds there is nothing to resample: the interval is Student's t.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil

import numpy as np
from scipy.stats import norm, t, ttest_rel

from spillover.stats.intervals import mean_interval, require_level

# Differences of rates closer than this differ by rounding only.
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class SeedDifference:
    """A mean difference, after minus before, with the seed as the unit."""

    delta: float
    ci_low: float | None
    "None, as `ci_high` and `p`, where all seeds gave the same difference."
    ci_high: float | None
    p: float | None
    "Two-sided, of the paired t test."
    n: int
    "Number of seeds."


def seed_difference(
    before: Sequence[float], after: Sequence[float], *, level: float = 0.95
) -> SeedDifference:
    """Mean difference over seeds, paired by seed, with t interval and paired t test.

    The seed is the unit: the interval says how the mean would move with other seeds, on the same
    prompts. With two seeds it is 12.7 standard errors to either side, with three 4.3, with five
    2.8. Differences that are all equal give no estimate of how seeds vary, so they get neither
    interval nor p: an interval without width would claim a certainty that two or three seeds
    cannot give.

    Args:
        before: One value per seed.
        after: The values of the same seeds in the same order.
        level: Confidence level in the open interval (0, 1).

    Returns:
        The mean difference in the units of the values, its interval and p. The interval is not
        clipped.

    Raises:
        ValueError: If there are fewer than two seeds, the two differ in length, a value is not
            finite, or `level` is no level.

    Example:
        >>> difference = seed_difference([0.9, 0.8], [0.6, 0.7])
        >>> round(difference.delta, 6), round(difference.p, 4)  # t = -2 with one degree of freedom
        (-0.2, 0.2952)
    """
    if len(before) != len(after):
        raise ValueError(
            f"{len(before)} seeds before and {len(after)} after; give the same seeds in one order"
        )
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    interval = mean_interval(differences.tolist(), level=level)
    delta, n = float(differences.mean()), len(before)
    if np.ptp(differences) <= _ROUNDING:
        return SeedDifference(delta=delta, ci_low=None, ci_high=None, p=None, n=n)
    p = float(ttest_rel(after, before).pvalue)
    return SeedDifference(delta=delta, ci_low=interval.low, ci_high=interval.high, p=p, n=n)


def seeds_for_half_width(half_width: float, *, n: int, wanted: float, level: float = 0.95) -> int:
    """Return about how many seeds give a t interval of half the width `wanted` to either side.

    The spread of the seeds is taken to stay what it is, so that only t / sqrt(n) changes. With few
    seeds the spread is itself hardly known, and so is the answer.

    Args:
        half_width: Of the interval of `n` seeds, in the units of what it is about.
        n: Number of seeds that it came of, at least two.
        wanted: The half width to be reached, in the same units, positive.
        level: Confidence level of both intervals.

    Raises:
        ValueError: If there are fewer than two seeds, `wanted` is not positive, or `level` is no
            level.

    Example:
        >>> seeds_for_half_width(0.2, n=3, wanted=0.1)  # from 4.30 / sqrt(3) to 2.78 / sqrt(5)
        5
    """
    if n < 2 or not wanted > 0:
        raise ValueError(f"n is {n} and wanted {wanted}; give two seeds or more, and a width")
    require_level(level)
    tail = (1 + level) / 2
    spread = half_width * n**0.5 / t.ppf(tail, n - 1)
    # Student's t is never below the normal, so fewer than this cannot do.
    fewest = max(2, ceil((norm.ppf(tail) * spread / wanted) ** 2))
    enough = (k for k in count(fewest) if t.ppf(tail, k - 1) * spread / k**0.5 <= wanted)
    return int(next(enough))
