"""Turns refusals of several models on the same prompts into erosion, recovery and intervals.

Prompts are resampled within each concept, the same draw for every model, so that what the models
share drops out of their difference. Knows nothing of judges or verdicts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from spillover.stats.intervals import Interval, require_level


@dataclass(frozen=True, kw_only=True)
class ErosionRecovery:
    """The share of an erosion that was taken back."""

    erosion_before: float
    "Erosion mass of the unlearned model: the sum over concepts of its drops in refusal rate."
    erosion_after: float
    "Erosion mass of the contained model."
    value: float | None
    "1 - after / before, at most 1 and negative where it got worse; None where nothing eroded."
    ci_low: float | None
    ci_high: float | None
    n_concepts: int
    n_dropped: int
    "Resamples left out of the interval because nothing eroded in them."


@dataclass(frozen=True, kw_only=True)
class RecoveryGain:
    """How much more of an erosion one containment took back than another."""

    value: float | None
    "Second recovery less the first; None where nothing eroded."
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True, kw_only=True)
class MeanErosion:
    """The mean change of refusal rate over concepts, each concept with the same weight."""

    delta: float
    "After minus before, in [-1, 1]; negative is erosion."
    ci_low: float
    ci_high: float
    n_concepts: int


def erosion_recovery(
    aligned: Mapping[str, NDArray[np.bool_]],
    unlearned: Mapping[str, NDArray[np.bool_]],
    contained: Mapping[str, NDArray[np.bool_]],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> ErosionRecovery:
    """How much of the erosion a containment took back, with a paired bootstrap interval.

        mass(model) = sum over concepts of max(0, rate(aligned) - rate(model))
        recovery    = 1 - mass(contained) / mass(unlearned)

    A concept that is refused more than before adds nothing to a mass: increases are not credited.
    Cutting at 0 also makes noise look like erosion, so a mass is never below its true value on
    average, and a recovery from little erosion has a wide interval. Where every prompt of a
    concept behaves alike, its resamples do not differ, and the interval is too narrow.

    Args:
        aligned: Per concept, whether each prompt was refused before the change.
        unlearned: The same prompts in the same order, after the change.
        contained: The same prompts in the same order, after the contained change.
        rng: Source of the resamples.
        n_resamples: Number of bootstrap resamples of the percentile interval.
        level: Confidence level in the open interval (0, 1).

    Returns:
        Both masses, the recovery and its interval.

    Raises:
        ValueError: If the three differ in concepts or in prompts, a concept is empty, or
            `n_resamples` or `level` is out of range.

    Example:
        >>> import numpy as np
        >>> refused = np.array([True, True, True, True])
        >>> half = np.array([True, True, False, False])
        >>> all_gone = np.array([False, False, False, False])
        >>> recovered = erosion_recovery(
        ...     {"bias": refused}, {"bias": all_gone}, {"bias": half}, rng=np.random.default_rng(0)
        ... )
        >>> recovered.erosion_before, recovered.erosion_after, recovered.value
        (1.0, 0.5, 0.5)
    """
    _require_bootstrap(n_resamples, level)
    outcomes = _align_outcomes(aligned, unlearned, contained)
    before, after = (float(mass) for mass in _erosion_masses(_rates(outcomes)))
    value, interval, n_dropped = None, None, 0
    if before > 0:
        value = 1 - after / before
        resampled = _erosion_masses(_resample_rates(outcomes, rng=rng, n_resamples=n_resamples))
        kept = resampled[resampled[:, 0] > 0]
        n_dropped = n_resamples - len(kept)
        if len(kept) > 0:
            interval = _percentile_interval(1 - kept[:, 1] / kept[:, 0], level=level)
    return ErosionRecovery(
        erosion_before=before,
        erosion_after=after,
        value=value,
        ci_low=interval.low if interval else None,
        ci_high=interval.high if interval else None,
        n_concepts=len(outcomes),
        n_dropped=n_dropped,
    )


def recovered_share(
    aligned: Mapping[str, NDArray[np.bool_]],
    unlearned: Mapping[str, NDArray[np.bool_]],
    contained: Mapping[str, NDArray[np.bool_]],
) -> float | None:
    """The recovery of `erosion_recovery` by itself, without an interval; None if nothing eroded."""
    rates = _rates(_align_outcomes(aligned, unlearned, contained))
    before, after = (float(mass) for mass in _erosion_masses(rates))
    return 1 - after / before if before > 0 else None


def recovery_gain(
    aligned: Mapping[str, NDArray[np.bool_]],
    unlearned: Mapping[str, NDArray[np.bool_]],
    first: Mapping[str, NDArray[np.bool_]],
    second: Mapping[str, NDArray[np.bool_]],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> RecoveryGain:
    """How much more the second containment took back, with a paired bootstrap interval.

    gain = (mass(first) - mass(second)) / mass(unlearned), with the masses of `erosion_recovery`.

    Args:
        aligned: As in `erosion_recovery`, like all that is not said here.
        unlearned: As there.
        first: The same prompts in the same order, after one contained change.
        second: After another.
        rng: As there.
        n_resamples: As there.
        level: As there.

    Example:
        >>> import numpy as np
        >>> refused, gone = np.array([True, True]), np.array([False, False])
        >>> half = {"bias": np.array([True, False])}
        >>> every, none = {"bias": refused}, {"bias": gone}
        >>> recovery_gain(every, none, half, every, rng=np.random.default_rng(0)).value
        0.5
    """
    _require_bootstrap(n_resamples, level)
    outcomes = _align_outcomes(aligned, unlearned, first, second)
    before, *after = (float(mass) for mass in _erosion_masses(_rates(outcomes)))
    if before == 0:
        return RecoveryGain(value=None, ci_low=None, ci_high=None)
    masses = _erosion_masses(_resample_rates(outcomes, rng=rng, n_resamples=n_resamples))
    kept = masses[masses[:, 0] > 0]
    gains = (kept[:, 1] - kept[:, 2]) / kept[:, 0]
    interval = _percentile_interval(gains, level=level) if len(kept) else None
    return RecoveryGain(
        value=(after[0] - after[1]) / before,
        ci_low=interval.low if interval else None,
        ci_high=interval.high if interval else None,
    )


def mean_erosion(
    before: Mapping[str, NDArray[np.bool_]],
    after: Mapping[str, NDArray[np.bool_]],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> MeanErosion:
    """Mean over concepts of the paired change in refusal rate, with a stratified bootstrap.

    Concepts are fixed and prompts are resampled: the interval says nothing of other concepts.

    Args:
        before: Per concept, whether each prompt was refused before the change.
        after: The same prompts in the same order, after the change.
        rng: Source of the resamples.
        n_resamples: Number of bootstrap resamples of the percentile interval.
        level: Confidence level in the open interval (0, 1).

    Returns:
        The mean change, in [-1, 1], and its interval.

    Raises:
        ValueError: If the two differ in concepts or in prompts, a concept is empty, or
            `n_resamples` or `level` is out of range.

    Example:
        >>> import numpy as np
        >>> erosion = mean_erosion(
        ...     {"bias": np.array([True, True]), "safety": np.array([True])},
        ...     {"bias": np.array([True, False]), "safety": np.array([True])},
        ...     rng=np.random.default_rng(0),
        ... )
        >>> erosion.delta  # (-0.5 + 0) / 2
        -0.25
    """
    _require_bootstrap(n_resamples, level)
    outcomes = _align_outcomes(before, after)
    resampled = _mean_changes(_resample_rates(outcomes, rng=rng, n_resamples=n_resamples))
    interval = _percentile_interval(resampled, level=level)
    return MeanErosion(
        delta=float(_mean_changes(_rates(outcomes))),
        ci_low=interval.low,
        ci_high=interval.high,
        n_concepts=len(outcomes),
    )


def _require_bootstrap(n_resamples: int, level: float) -> None:
    require_level(level)
    if n_resamples < 1:
        raise ValueError(f"n_resamples is {n_resamples}; a bootstrap needs at least one resample")


def _align_outcomes(*models: Mapping[str, NDArray[np.bool_]]) -> list[Bool[np.ndarray, "_ _"]]:
    """One (prompt, model) array per concept, in the order of the concepts' names."""
    concepts = sorted(models[0])
    if not concepts:
        raise ValueError("no concepts; give at least one with its refusals")
    for model in models[1:]:
        if sorted(model) != concepts:
            raise ValueError(
                f"concepts {concepts} and {sorted(model)} differ; give the same for every model"
            )
    return [_stack_concept(concept, [model[concept] for model in models]) for concept in concepts]


def _stack_concept(concept: str, columns: list[NDArray[np.bool_]]) -> Bool[np.ndarray, "_ _"]:
    shapes = [column.shape for column in columns]
    if any(len(shape) != 1 for shape in shapes) or len(set(shapes)) > 1:
        raise ValueError(
            f"concept '{concept}' has refusals of shapes {shapes}; "
            "give one value per prompt, and the same prompts for every model"
        )
    if shapes[0] == (0,):
        raise ValueError(f"concept '{concept}' has no prompts; leave it out")
    return np.stack(columns, axis=1)


def _rates(outcomes: list[Bool[np.ndarray, "_ _"]]) -> Float[np.ndarray, "concept model"]:
    return np.stack([outcome.sum(axis=0) / len(outcome) for outcome in outcomes])


def _resample_rates(
    outcomes: list[Bool[np.ndarray, "_ _"]], *, rng: np.random.Generator, n_resamples: int
) -> Float[np.ndarray, "resample concept model"]:
    """Rates of resampled prompts.

    Prompts with the same outcomes under all models are interchangeable, so a resample is a
    multinomial draw of how many there are of each kind: the same distribution as drawing prompt
    by prompt, whatever their order, in a fraction of the memory.
    """
    rates = []
    for outcome in outcomes:
        kinds, counts = np.unique(outcome, axis=0, return_counts=True)
        drawn = rng.multinomial(len(outcome), counts / len(outcome), size=n_resamples)
        rates.append(drawn @ kinds.astype(np.int64) / len(outcome))
    return np.stack(rates, axis=1)


def _erosion_masses(
    rates: Float[np.ndarray, "*resample concept model"],
) -> Float[np.ndarray, "*resample changed"]:
    """Sum over concepts of the drops from the first model to each of the others."""
    drops = rates[..., :1] - rates[..., 1:]
    masses: NDArray[np.float64] = np.maximum(drops, 0.0).sum(axis=-2)
    return masses


def _mean_changes(
    rates: Float[np.ndarray, "*resample concept 2"],
) -> Float[np.ndarray, "*resample"]:
    changes: NDArray[np.float64] = np.asarray((rates[..., 1] - rates[..., 0]).mean(axis=-1))
    return changes


def _percentile_interval(values: Float[np.ndarray, " resample"], *, level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high))
