"""Turns the rates of single seeds into what can be said where they do not agree.

A mean over seeds hides trainings that end in one of two ways. Two seeds differ where their
intervals over prompts do not meet: other prompts would then not have made them alike.
"""

from collections.abc import Mapping, Sequence

from spillover.report.pooling import Estimate, ScoreKey
from spillover.report.text import interval, listing, number, words
from spillover.stats.intervals import wilson_interval


def seeds_differ(estimate: Estimate) -> bool:
    """Return whether the intervals of two seeds, over prompts, do not meet."""
    lows = [row.ci_low for row in estimate.by_seed if row.ci_low is not None]
    highs = [row.ci_high for row in estimate.by_seed if row.ci_high is not None]
    return bool(lows) and bool(highs) and max(lows) > min(highs)


def seed_values(estimate: Estimate) -> str:
    """Return the seeds' own rates, in the order of the seeds: `0.72, 0.62 and 0.03`."""
    return listing([number(row.value) for row in estimate.by_seed])


def seed_note(estimate: Estimate) -> str:
    """Return `seeds 0.72, 0.62 and 0.03` where they differ, and nothing where they do not."""
    return f"seeds {seed_values(estimate)}" if seeds_differ(estimate) else ""


def is_divided(estimate: Estimate, *, at_most: float) -> bool:
    """Return whether some seeds lie at or below a limit and others above, and differ.

    Args:
        estimate: A rate over several seeds.
        at_most: The limit, a rate.
    """
    below = [row.value is not None and row.value <= at_most for row in estimate.by_seed]
    return any(below) and not all(below) and seeds_differ(estimate)


def share_of_seeds(estimate: Estimate, *, at_most: float) -> str:
    """Return in how many seeds a rate is at or below a limit, with Wilson's interval.

    Example:
        >>> from spillover.records import Score
        >>> rows = tuple(
        ...     Score(
        ...         model="m", metric="refusal_rate", concept="bias", value=value, n=40,
        ...         ci_low=None, ci_high=None, judge="phrases", seed=seed,
        ...     )
        ...     for seed, value in enumerate((0.72, 0.62, 0.03))
        ... )
        >>> divided = Estimate(value=0.46, low=0.0, high=1.0, n_seeds=3, by_seed=rows)
        >>> share_of_seeds(divided, at_most=0.3)
        '1 of 3 seeds [0.06, 0.79]'
    """
    n = len(estimate.by_seed)
    below = sum(row.value is not None and row.value <= at_most for row in estimate.by_seed)
    share = wilson_interval(below, n)
    return f"{below} of {n} seeds {interval(share.low, share.high)}"


def spread_sentences(
    found: Mapping[ScoreKey, Estimate], *, models: Sequence[str], concepts: Sequence[str]
) -> list[str]:
    """Name, for each model, the concepts on which its seeds differ, with the range of the seeds.

    Args:
        found: The rates, as `pooling.estimates` gives them.
        models: The models to speak of.
        concepts: The concepts, in the order to name them.
    """
    sentences = []
    for model in models:
        rates = [(c, found.get((model, "refusal_rate", c))) for c in concepts]
        apart = [
            f"{words(c)} ({_range(rate)})"
            for c, rate in rates
            if rate is not None and seeds_differ(rate)
        ]
        if apart:
            sentences.append(
                f"{words(model)}: seeds differ by more than their prompts explain on "
                f"{listing(apart)}, so the mean there describes no single training."
            )
    return sentences


def _range(rate: Estimate) -> str:
    values = [row.value for row in rate.by_seed if row.value is not None]
    return f"{number(min(values))} to {number(max(values))}"
