"""Turns behaviour measured along training into when it changed, and its lag behind the weights.

Values come as arrays, whatever was measured: emergent misalignment by a judge, log-probability
margins, refusals; at one scale of the adapter or at several. Knows no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from spillover.analysis.estimates import Estimate
from spillover.analysis.resamples import example_counts
from spillover.records import Record
from spillover.stats.permutation import paired_permutation_p


@dataclass(frozen=True, kw_only=True)
class BehaviourOnset(Record):
    """When a behaviour changed along training.

    The rule: the step at which the monotone curve that fits its means best (isotonic regression)
    has gone `share` of the way from its start to its end, straight lines between measurements. A
    single measurement that falls back by chance then moves little. A behaviour that comes and goes
    has no onset in this sense: give its measurements up to the turn.
    """

    name: str
    step: float | None
    "None where first and last measurement do not differ by more than chance."
    ci_low: float | None
    "Percentiles over resampled items, to which the same rule was applied."
    ci_high: float | None
    p: float
    "Of the change from first to last measurement, the same items paired; two-sided."
    change: float
    "From first to last measurement."
    n_items: int
    share: float
    draws: tuple[float, ...] = ()
    "The onset in each resample."


def behaviour_onset(
    steps: Sequence[int],
    values: Float[np.ndarray, "step item"],
    *,
    name: str,
    rng: np.random.Generator,
    share: float = 0.5,
    alpha: float = 0.05,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> BehaviourOnset:
    """Find when a behaviour changed, with an interval over the items that it was measured on.

    The interval is about items, not about other runs; for those, train with several seeds.

    Args:
        steps: Optimizer steps of the measurements, ascending, at least three.
        values: One value for each item at each step, such as 0 or 1 for a misaligned answer.
        name: What was measured.
        rng: Resamples items.
        share: Of the way to go; 0.5 is half of the change, lower values are closer to its start
            and noisier.
        alpha: p above which nothing is said to have changed.
        n_resamples: Bootstrap resamples.
        level: Confidence level of the interval.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, or `share` is out of range.

    Example:
        >>> values = np.repeat([[0.0], [0.0], [1.0], [1.0]], 8, axis=1)
        >>> found = behaviour_onset(
        ...     [0, 10, 20, 30], values, name="EM", rng=np.random.default_rng(0)
        ... )
        >>> found.step  # half-way up between 10 and 20
        15.0
    """
    _check(steps, values, share)
    places = np.asarray(steps, dtype=np.float64)
    counts = example_counts(values.shape[1], n_resamples=n_resamples, rng=rng)
    drawn = counts @ values.T / values.shape[1]
    p = paired_permutation_p(values[0].tolist(), values[-1].tolist(), rng=rng)
    change = float(values[-1].mean() - values[0].mean())
    rest = {"name": name, "p": p, "change": change, "n_items": values.shape[1], "share": share}
    step = _crossing(places, values.mean(axis=1), share)
    if p > alpha or step is None:
        return BehaviourOnset(step=None, ci_low=None, ci_high=None, **rest)
    found = [_crossing(places, curve, share) for curve in drawn]
    known = [value for value in found if value is not None]
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return BehaviourOnset(
        step=step, ci_low=float(low), ci_high=float(high), draws=tuple(known), **rest
    )


def _check(steps: Sequence[int], values: NDArray[np.float64], share: float) -> None:
    if len(steps) != len(values) or len(steps) < 3 or (np.diff(steps) <= 0).any():
        raise ValueError(
            f"{len(values)} rows of values for steps {list(steps)[:5]}...; give one row for each "
            "of at least three steps in ascending order"
        )
    if values.shape[1] < 2 or not np.isfinite(values).all():
        raise ValueError(
            f"{values.shape[1]} items; give at least two, all measured at every step, with a "
            "finite value each"
        )
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; it must lie in the open interval (0, 1), such as 0.5")


def _crossing(
    steps: NDArray[np.float64], curve: Float[np.ndarray, " step"], share: float
) -> float | None:
    """Where the best monotone curve through some values has gone `share` of its way."""
    rises = float((steps - steps.mean()) @ curve) >= 0
    fitted = isotonic_regression(curve, increasing=rises).x
    if fitted[-1] == fitted[0]:
        return None
    gone = (fitted - fitted[0]) / (fitted[-1] - fitted[0])
    before = int(np.flatnonzero(gone < share)[-1])  # The first is 0 and the last 1.
    part = (share - gone[before]) / (gone[before + 1] - gone[before])
    return float(steps[before] + part * (steps[before + 1] - steps[before]))


def onset_lag(
    behaviour: Sequence[float],
    mechanism: Sequence[float],
    *,
    steps: tuple[float, float],
    level: float = 0.95,
) -> Estimate:
    """Steps from the change in the weights to that in behaviour; positive if behaviour is later.

    Items and moves are resampled by themselves, so that any draw of one goes with any of the
    other: the interval is that of all differences.

    Args:
        behaviour: The onset in each resample, from `BehaviourOnset.draws`.
        mechanism: The change point in each resample, from `PhaseChanges.change_draws`.
        steps: The two onsets themselves, behaviour first.
        level: Confidence level.

    Raises:
        ValueError: If one of them has no draws, as where there is no onset.

    Example:
        >>> lag = onset_lag([30.0, 30.0], [10.0, 20.0], steps=(30.0, 15.0), level=0.9)
        >>> lag.value, round(lag.ci_low, 6), round(lag.ci_high, 6)
        (15.0, 10.0, 20.0)
    """
    if len(behaviour) == 0 or len(mechanism) == 0:
        raise ValueError("a lag needs an onset of the behaviour and a change point of the weights")
    lags = np.subtract.outer(np.asarray(behaviour), np.asarray(mechanism)).ravel()
    low, high = np.quantile(lags, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value=steps[0] - steps[1], ci_low=float(low), ci_high=float(high))


def rolling_mean(values: Float[np.ndarray, " step"], *, window: int) -> Float[np.ndarray, " step"]:
    """Centred means of up to `window` neighbours, fewer at the ends, as in 2506.11613's figures.

    Example:
        >>> rolling_mean(np.array([0.0, 3.0, 6.0, 9.0]), window=3).tolist()
        [1.5, 3.0, 6.0, 7.5]
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window is {window}; give an odd number, so that it has a centre")
    half = window // 2
    sums = np.concatenate([[0.0], values.cumsum()])
    places = np.arange(len(values))
    first, last = np.maximum(0, places - half), np.minimum(len(values), places + half + 1)
    return np.asarray((sums[last] - sums[first]) / (last - first))
