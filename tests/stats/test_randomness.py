"""No interval and no test moves a generator that it was not given."""

import numpy as np
import pytest

from spillover import stats
from spillover.stats.power import Design, prompts_needed, smallest_effect

BEFORE, AFTER = [True] * 18 + [False] * 2, [True] * 9 + [False] * 11
NAMES = [place % 7 for place in range(20)]
CONCEPT = {"bias": np.array(BEFORE)}
CALLS = {
    "wilson_interval": lambda _: stats.wilson_interval(9, 20),
    "mean_interval": lambda _: stats.mean_interval([0.1, 0.4]),
    "paired_difference": lambda _: stats.paired_difference(BEFORE, AFTER),
    "unpaired_difference": lambda _: stats.unpaired_difference(BEFORE, AFTER),
    "seed_difference": lambda _: stats.seed_difference([0.9, 0.8], [0.5, 0.6]),
    "holm": lambda _: stats.holm([0.2, 0.01]),
    "cluster_mean": lambda rng: stats.cluster_mean(AFTER, NAMES, rng=rng),
    "cluster_difference": lambda rng: stats.cluster_difference(
        BEFORE, NAMES, AFTER, NAMES, rng=rng
    ),
    "paired_permutation_p": lambda rng: stats.paired_permutation_p(
        list(range(20)), [0.5] * 20, rng=rng, n_resamples=99
    ),
    "erosion_recovery": lambda rng: stats.erosion_recovery(
        CONCEPT, {"bias": np.array(AFTER)}, CONCEPT, rng=rng
    ),
    "recovery_gain": lambda rng: stats.recovery_gain(
        CONCEPT, {"bias": np.array(AFTER)}, CONCEPT, CONCEPT, rng=rng
    ),
    "recovered_share": lambda _: stats.recovered_share(CONCEPT, CONCEPT, CONCEPT),
    "mean_erosion": lambda rng: stats.mean_erosion(CONCEPT, {"bias": np.array(AFTER)}, rng=rng),
    "smallest_effect": lambda _: smallest_effect(Design(before=0.85), n=20),
    "prompts_needed": lambda _: prompts_needed(Design(before=0.85), effect=0.5),
}


def test_every_public_function_of_the_room_is_looked_at():
    functions = {name for name in stats.__all__ if name[0].islower()}
    assert functions <= set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_the_global_generator_is_left_where_it_was(name):
    # Only NumPy's: the checks of types under pytest draw from Python's own.
    before = np.random.get_state()
    CALLS[name](np.random.default_rng(1))
    after = np.random.get_state()
    assert after[2:] == before[2:]
    np.testing.assert_array_equal(after[1], before[1])
