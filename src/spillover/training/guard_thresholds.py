"""Signals along benign fine-tunes to alarm thresholds with a measured false-alarm rate.

A run is one fine-tune; a false alarm is a benign run with at least one alarm anywhere along it.
Knows no models.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from spillover.records import Record
from spillover.stats import wilson_interval
from spillover.training.guard_readings import Signals

Run = Sequence[Signals]
"The signals of one fine-tune at each measurement."


@dataclass(frozen=True, kw_only=True)
class GuardThresholds(Record):
    """For each signal the value above which it is an alarm."""

    values: Mapping[str, float] = field(default_factory=dict)
    "Signal -> threshold, in the signal's units; a signal that is not there never alarms."
    false_alarm_rate: float | None = None
    "Share of benign runs that was to alarm at most; None where thresholds were set by hand."
    measured_rate: float | None = None
    "Share of benign runs that alarm when the thresholds are set on the others."
    ci_low: float | None = None
    "95%, Wilson."
    ci_high: float | None = None
    n_runs: int = 0
    setting: str = ""
    "What the runs were: model, data, steps."

    def exceeded(self, signals: Signals) -> dict[str, float]:
        """Return the signals above their thresholds."""
        limits = self.values
        return {name: v for name, v in signals.items() if name in limits and v > limits[name]}


def fit_thresholds(
    runs: Sequence[Run], *, false_alarm_rate: float = 0.1, setting: str = ""
) -> GuardThresholds:
    """Set thresholds so that at most a given share of runs like these raises any alarm.

    One number a run is enough for all signals together. With M the highest value of a signal in a
    run and c the root mean square of M over runs, the run's score is the largest M / c of its
    signals. Thresholds are q c, with q the ceil((n + 1)(1 - rate))-th smallest score: the split
    conformal quantile (https://arxiv.org/abs/2107.07511, section 1), whose guarantee needs runs
    that are alike in kind. It departs in that c comes from the same runs, which is why the rate is
    also measured, leaving out one run at a time.

    Args:
        runs: Of benign fine-tunes, each measured as the guard does.
        false_alarm_rate: In (0, 1).
        setting: What the runs were; shown with the thresholds.

    Raises:
        ValueError: If there are too few runs for the rate, or a signal is missing in one.
    """
    _check_runs(runs, false_alarm_rate)
    highest = _highest(runs)
    alarms = 0
    for left_out in range(len(runs)):
        others = {name: np.delete(column, left_out) for name, column in highest.items()}
        limits = _limits(others, false_alarm_rate)
        alarms += any(highest[name][left_out] > limits[name] for name in limits)
    interval = wilson_interval(alarms, len(runs))
    return GuardThresholds(
        values=_limits(highest, false_alarm_rate),
        false_alarm_rate=false_alarm_rate,
        measured_rate=alarms / len(runs),
        ci_low=interval.low,
        ci_high=interval.high,
        n_runs=len(runs),
        setting=setting,
    )


def _check_runs(runs: Sequence[Run], rate: float) -> None:
    if not 0 < rate < 1:
        raise ValueError(f"false_alarm_rate is {rate}; it must lie between 0 and 1")
    # One more than the quantile needs, as one run at a time is left out.
    needed = math.ceil(1 / rate - 1e-9)
    if len(runs) < needed or not all(runs):
        raise ValueError(
            f"{len(runs)} benign runs, {sum(not run for run in runs)} of them without a "
            f"measurement; a false-alarm rate of {rate} needs at least {needed} runs, each "
            "measured at least once"
        )
    names = {frozenset(signals) for run in runs for signals in run}
    if len(names) != 1:
        raise ValueError(
            f"the runs have different signals: {sorted(map(sorted, names))}; measure all with the "
            "same probes and directions"
        )


def _highest(runs: Sequence[Run]) -> dict[str, np.ndarray]:
    """Return each signal's highest value in each run, 0 at least."""
    return {
        name: np.array([max(0.0, *(signals[name] for signals in run)) for run in runs])
        for name in runs[0][0]
    }


def _limits(highest: Mapping[str, np.ndarray], rate: float) -> dict[str, float]:
    # Not the median: one signal that barely moves in most runs would raise the limits of all.
    # A signal that never rises has no scale of its own; any positive one will do.
    scales = {name: float(np.sqrt(np.mean(v**2))) or 1.0 for name, v in highest.items()}
    scores = np.sort(np.max([highest[name] / scale for name, scale in scales.items()], axis=0))
    place = math.ceil((len(scores) + 1) * (1 - rate) - 1e-9)
    q = float(scores[place - 1])
    return {name: q * scale for name, scale in scales.items()}
