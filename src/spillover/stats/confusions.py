"""Turns two raters' labels of the same things into a table of counts, agreement and kappa.

For yes-or-no labels, and for things that come in groups, see `agreement`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spillover.stats.agreement import Kappa, cohen_kappa
from spillover.stats.intervals import require_level, wilson_interval


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How one rater's labels match another's, who is taken to be right."""

    labels: tuple[str, ...]
    "Every label that either gave, in alphabetical order."
    counts: tuple[tuple[int, ...], ...]
    "One row for each true label, one column for each label given."
    n: int
    accuracy: float
    ci_low: float
    "Wilson's interval."
    ci_high: float
    balanced_accuracy: float
    "Mean over the true labels of the share that is given."
    kappa: Kappa | None
    "None where all have one label."


def compare_labels(
    given: Sequence[str],
    truth: Sequence[str],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Confusion:
    """Compare labels with true ones; kappa has a percentile bootstrap interval.

    Args:
        given: The labels that a rater gave.
        truth: The true labels of the same things.
        rng: Source of the resamples.
        n_resamples: How many.
        level: Confidence level in the open interval (0, 1).

    Raises:
        ValueError: If the two differ in length or are empty, or `n_resamples` or `level` is out of
            range.

    Example:
        >>> import numpy as np
        >>> found = compare_labels(
        ...     ["a", "a", "b", "c"], ["a", "b", "b", "c"], rng=np.random.default_rng(0)
        ... )
        >>> found.counts, found.accuracy
        (((1, 0, 0), (1, 1, 0), (0, 0, 1)), 0.75)
    """
    require_level(level)
    if len(given) != len(truth) or not given:
        raise ValueError(
            f"{len(given)} labels for {len(truth)} true ones; give as many, and at least one"
        )
    if n_resamples < 1:
        raise ValueError(f"n_resamples is {n_resamples}; a bootstrap needs at least one resample")
    labels = tuple(sorted({*given, *truth}))
    place = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(counts, ([place[t] for t in truth], [place[g] for g in given]), 1)
    n, n_right = len(given), int(np.trace(counts))
    interval = wilson_interval(n_right, n, level=level)
    of_truth = counts.sum(axis=1)
    return Confusion(
        labels=labels,
        counts=tuple(tuple(int(count) for count in row) for row in counts),
        n=n,
        accuracy=n_right / n,
        ci_low=interval.low,
        ci_high=interval.high,
        balanced_accuracy=float((np.diag(counts)[of_truth > 0] / of_truth[of_truth > 0]).mean()),
        kappa=_kappa(counts, rng=rng, n_resamples=n_resamples, level=level),
    )


def _kappa(
    counts: np.ndarray, *, rng: np.random.Generator, n_resamples: int, level: float
) -> Kappa | None:
    value = float(cohen_kappa(counts))
    if np.isnan(value):
        return None
    n = int(counts.sum())
    drawn = rng.multinomial(n, counts.ravel() / n, size=n_resamples).reshape(-1, *counts.shape)
    resampled = cohen_kappa(drawn)
    low, high = np.nanquantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Kappa(value=value, ci_low=float(low), ci_high=float(high))
