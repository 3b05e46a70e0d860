"""Intervals and tests for rates and paired differences. No torch, no files."""

from spillover.stats.intervals import Interval, mean_interval, wilson_interval
from spillover.stats.paired import PairedDifference, holm, paired_difference, seed_difference
from spillover.stats.resampling import (
    ErosionRecovery,
    MeanErosion,
    erosion_recovery,
    mean_erosion,
)

__all__ = [
    "ErosionRecovery",
    "Interval",
    "MeanErosion",
    "PairedDifference",
    "erosion_recovery",
    "holm",
    "mean_erosion",
    "mean_interval",
    "paired_difference",
    "seed_difference",
    "wilson_interval",
]
