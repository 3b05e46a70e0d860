"""A paired difference to the row of a measure that stands beside the refusals.

Such a row answers a question of its own: its p-value is in no family, and it is never flagged.
"""

from spillover.records import Comparison
from spillover.stats import PairedDifference


def uncorrected_comparison(
    found: PairedDifference, *, before: str, after: str, metric: str, concept: str, seed: int
) -> Comparison:
    """Return the comparison of two models that a paired difference is."""
    return Comparison(
        before=before,
        after=after,
        metric=metric,
        concept=concept,
        delta=found.delta,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        p=found.p,
        p_holm=found.p,
        flagged=False,
        n=found.n,
        seed=seed,
    )
