"""Differences with the seed as the unit."""

import numpy as np
import pytest
from scipy.stats import t

from spillover.stats import seed_difference
from spillover.stats.seeds import seeds_for_half_width


def test_seed_difference_of_three_seeds_is_the_one_worked_by_hand():
    # differences -0.1 -0.2 -0.3: mean -0.2, standard error 0.1 / sqrt(3), t = -sqrt(12)
    # with two degrees of freedom p = 1 - |t| / sqrt(2 + t^2) = 1 - sqrt(12 / 14)
    # interval -0.2 +/- 4.302653 * 0.057735
    difference = seed_difference([0.9, 0.8, 0.9], [0.8, 0.6, 0.6])
    assert difference.delta == pytest.approx(-0.2)
    assert difference.p == pytest.approx(1 - (12 / 14) ** 0.5)
    assert difference.ci_low == pytest.approx(-0.2 - 0.248414, abs=1e-6)
    assert difference.ci_high == pytest.approx(-0.2 + 0.248414, abs=1e-6)
    assert difference.n == 3


def test_two_seeds_get_the_t_interval_with_one_degree_of_freedom():
    # differences -0.3 and -0.1: mean -0.2, standard error 0.1, t(0.975; 1) = 12.706205
    difference = seed_difference([0.9, 0.8], [0.6, 0.7])
    assert difference.ci_low == pytest.approx(-0.2 - 1.2706205, abs=1e-6)
    assert difference.ci_high == pytest.approx(-0.2 + 1.2706205, abs=1e-6)
    assert difference.n == 2


@pytest.mark.parametrize("after", [[0.7, 0.9, 0.8], [0.5, 0.7, 0.6]], ids=["no change", "a drop"])
def test_the_same_change_in_every_seed_gives_no_interval_rather_than_one_without_width(after):
    # 0.7 - 0.5 and 0.9 - 0.7 differ in the last bit, which is no variance.
    difference = seed_difference([0.7, 0.9, 0.8], after)
    assert difference.delta == pytest.approx(after[0] - 0.7)
    assert {difference.ci_low, difference.ci_high, difference.p} == {None}
    assert difference.n == 3


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_the_interval_over_seeds_covers_the_true_mean_about_as_often_as_it_says(n_seeds):
    rng = np.random.default_rng(n_seeds)
    drops = rng.normal(-0.2, 0.1, size=(400, n_seeds))
    found = [seed_difference([0.0] * n_seeds, row.tolist()) for row in drops]
    covered = sum(d.ci_low <= -0.2 <= d.ci_high for d in found)
    # 0.95 give or take three standard errors of 400 draws; a normal interval covers 0.70 of two
    assert 0.917 <= covered / 400 <= 0.983


def test_the_interval_is_as_wide_as_students_t_and_not_as_the_normal():
    difference = seed_difference([0.0, 0.0, 0.0], [0.1, 0.2, 0.3])
    half_width = t.ppf(0.975, 2) * 0.1 / 3**0.5
    assert difference.ci_high - difference.delta == pytest.approx(half_width)


def test_seed_difference_refuses_a_single_seed():
    with pytest.raises(ValueError, match="needs at least two"):
        seed_difference([0.5], [0.4])


def test_seed_difference_refuses_different_numbers_of_seeds():
    with pytest.raises(ValueError, match="2 seeds before and 3 after"):
        seed_difference([0.5, 0.5], [0.4, 0.4, 0.4])


@pytest.mark.parametrize(("n", "wanted"), [(2, 0.5), (3, 0.05), (5, 0.003)])
def test_the_seeds_that_are_asked_for_are_the_fewest_that_narrow_the_interval_enough(n, wanted):
    def half_width(k):  # Of seeds with a spread of 0.3.
        return t.ppf(0.975, k - 1) * 0.3 / k**0.5

    needed = seeds_for_half_width(half_width(n), n=n, wanted=wanted)
    assert half_width(needed) <= wanted
    assert needed == 2 or half_width(needed - 1) > wanted


def test_a_number_of_seeds_needs_a_spread_and_a_width():
    with pytest.raises(ValueError, match="two seeds or more"):
        seeds_for_half_width(0.1, n=1, wanted=0.1)
    with pytest.raises(ValueError, match="and a width"):
        seeds_for_half_width(0.1, n=3, wanted=0.0)
