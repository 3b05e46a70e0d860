"""Turns contexts that change a model, and probes of what it does, into effects with intervals.

A probe observes the changed model and is scored once the model is as it was; so answers given under
an intervention can be read by the model without it. Knows neither directions nor judges: what an
intervention does and what a probe asks is the caller's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from spillover.analysis.estimates import Estimate, bootstrap_estimate
from spillover.analysis.resamples import example_counts
from spillover.models.loading import LoadedModel
from spillover.records import Record
from spillover.stats import paired_difference, wilson_interval


@dataclass(frozen=True)
class Intervention:
    """Something done to a model for a while."""

    name: str
    apply: Callable[[LoadedModel], AbstractContextManager[Any]]
    "Returns a context inside of which the model is changed."


@dataclass(frozen=True)
class Probe:
    """What is asked of a model, and what is made of it: one number an item under each name."""

    observe: Callable[[LoadedModel], Any]
    "Called inside the intervention."
    score: Callable[[LoadedModel, Any], Mapping[str, Sequence[float]]]
    """Called after it, with the model as it was. NaN where an item has no value. The same names and
    items in the same order every time, so that interventions are compared item by item."""


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How intervals over items are made."""

    rng: np.random.Generator
    n_resamples: int = 1000
    level: float = 0.95
    "Confidence level in the open interval (0, 1)."


Scores = Mapping[str, NDArray[np.float64]]
"For each measure one number an item."


def probe_scores(
    loaded: LoadedModel, probes: Sequence[Probe], intervention: Intervention | None = None
) -> Scores:
    """Ask all probes, under an intervention or not.

    Raises:
        ValueError: If two probes give a measure of one name.
    """
    if intervention is None:
        seen = [probe.observe(loaded) for probe in probes]
    else:
        with intervention.apply(loaded):
            seen = [probe.observe(loaded) for probe in probes]
    found: dict[str, NDArray[np.float64]] = {}
    for probe, observed in zip(probes, seen, strict=True):
        for name, values in probe.score(loaded, observed).items():
            if name in found:
                raise ValueError(f"two probes measure {name!r}; give one of them another name")
            found[name] = np.asarray(values, dtype=np.float64)
    return found


@dataclass(frozen=True, kw_only=True)
class Effect(Record):
    """What a model does under an intervention, and how that differs from what it does without."""

    intervention: str
    measure: str
    n: int
    "Items with a value."
    n_without: int
    "Items without one, such as invalid verdicts; left out on both sides of a change."
    value: Estimate | None
    "None where no item has a value."
    change: Estimate | None
    "Mean with less mean without it, on the same items; None without an intervention."


def effect(
    measure: str,
    values: Float[np.ndarray, " item"],
    *,
    before: Float[np.ndarray, " before"] | None,
    intervention: str,
    resampling: Resampling,
) -> Effect:
    """Put one measure's values under an intervention together.

    Shares get Wilson's interval, and Newcombe's for their paired change; other means a bootstrap
    over items. Fewer than two items, or of a mean fewer than two different values, leave no spread
    to estimate: the interval of such a mean has no width.

    Args:
        measure: Its name.
        values: One an item; NaN where there is none.
        before: The same items without the intervention; None if these are they.
        intervention: Its name.
        resampling: How intervals are made.

    Raises:
        ValueError: If the items differ in number.
    """
    if before is not None and before.shape != values.shape:
        raise ValueError(f"{measure}: {len(before)} items before and {len(values)} after")
    known = ~np.isnan(values) if before is None else ~np.isnan(values) & ~np.isnan(before)
    after = values[known]
    is_known = len(after) > 0
    return Effect(
        intervention=intervention,
        measure=measure,
        n=len(after),
        n_without=len(values) - len(after),
        value=_mean(after, resampling) if is_known else None,
        change=_change(before[known], after, resampling)
        if is_known and before is not None
        else None,
    )


def is_share(values: Float[np.ndarray, " item"]) -> bool:
    """Return whether all values are 0 or 1, so that their mean is a share."""
    return bool(np.isin(values, (0.0, 1.0)).all())


def _mean(values: NDArray[np.float64], resampling: Resampling) -> Estimate:
    if is_share(values):
        interval = wilson_interval(int(values.sum()), len(values), level=resampling.level)
        return Estimate(value=float(values.mean()), ci_low=interval.low, ci_high=interval.high)
    return bootstrapped_mean(values, resampling)


def bootstrapped_mean(values: Float[np.ndarray, " item"], resampling: Resampling) -> Estimate:
    """Mean over items with its percentile interval; a single item has an interval of no width."""
    mean = math.fsum(values.tolist()) / len(values)
    if len(values) < 2:
        return Estimate(value=mean, ci_low=mean, ci_high=mean)
    counts = example_counts(len(values), n_resamples=resampling.n_resamples, rng=resampling.rng)
    return bootstrap_estimate(mean, counts @ values / len(values), level=resampling.level)


def _change(
    before: NDArray[np.float64], after: NDArray[np.float64], resampling: Resampling
) -> Estimate:
    if is_share(before) and is_share(after):
        found = paired_difference(
            [bool(value) for value in before],
            [bool(value) for value in after],
            level=resampling.level,
        )
        return Estimate(value=found.delta, ci_low=found.ci_low, ci_high=found.ci_high)
    return bootstrapped_mean(after - before, resampling)
