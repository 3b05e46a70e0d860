"""Refusal, over-refusal, comparisons and recovery: verdicts in, scores out. No files."""

from spillover.evaluation.comparisons import compare_refusals, compare_seeds
from spillover.evaluation.over_refusal import over_refusal_scores
from spillover.evaluation.recovery import recovery
from spillover.evaluation.refusal import is_refusal, refusal_scores

__all__ = [
    "compare_refusals",
    "compare_seeds",
    "is_refusal",
    "over_refusal_scores",
    "recovery",
    "refusal_scores",
]
