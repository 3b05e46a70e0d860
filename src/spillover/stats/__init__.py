"""Intervals and tests for rates and paired differences. No torch, no files."""

from spillover.stats.clusters import ClusterEstimate, cluster_difference, cluster_mean
from spillover.stats.corrections import holm
from spillover.stats.intervals import Interval, mean_interval, wilson_interval
from spillover.stats.paired import PairedDifference, paired_difference
from spillover.stats.permutation import paired_permutation_p
from spillover.stats.resampling import (
    ErosionRecovery,
    MeanErosion,
    RecoveryGain,
    erosion_recovery,
    mean_erosion,
    recovered_share,
    recovery_gain,
)
from spillover.stats.seeds import SeedDifference, seed_difference
from spillover.stats.unpaired import UnpairedDifference, unpaired_difference

__all__ = [
    "ClusterEstimate",
    "ErosionRecovery",
    "Interval",
    "MeanErosion",
    "PairedDifference",
    "RecoveryGain",
    "SeedDifference",
    "UnpairedDifference",
    "cluster_difference",
    "cluster_mean",
    "erosion_recovery",
    "holm",
    "mean_erosion",
    "mean_interval",
    "paired_difference",
    "paired_permutation_p",
    "recovered_share",
    "recovery_gain",
    "seed_difference",
    "unpaired_difference",
    "wilson_interval",
]
