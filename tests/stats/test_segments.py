"""Curves of two straight pieces, and where curves cross a height."""

import numpy as np
import pytest

from spillover.stats.segments import first_crossing, two_segment_fit


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_planted_knee_is_found_with_both_slopes():
    x = np.linspace(0, 100, 41)
    y = np.where(x < 30, 5 - 0.1 * x, 2 - 0.01 * (x - 30)) + rng().normal(size=41) * 0.05
    fit = two_segment_fit(x, y, rng=rng())
    assert fit.knee == pytest.approx(30, abs=2)
    assert fit.slope_before == pytest.approx(-0.1, abs=0.01)
    assert fit.slope_after == pytest.approx(-0.01, abs=0.003)
    assert fit.value == pytest.approx(2, abs=0.1)
    assert fit.p == 1 / 500


def test_a_knee_between_two_points_is_found():
    # y = |x - 4.5| at x = 0 ... 9, without noise
    fit = two_segment_fit(np.arange(10.0), np.abs(np.arange(10.0) - 4.5))
    assert fit.knee == pytest.approx(4.5)
    assert fit.share == pytest.approx(1)
    assert fit.p is None


def test_straight_lines_with_noise_are_bent_at_the_nominal_rate():
    n = 200
    bent = 0
    for seed in range(n):
        y = 3 - 0.2 * np.arange(12.0) + rng(seed).normal(size=12)
        p = two_segment_fit(np.arange(12.0), y, rng=rng(seed), n_draws=99).p
        bent += p <= 0.05
    assert 2 <= bent <= 21  # 10 expected; permuting residuals is exact only for many points


def test_the_order_and_the_units_of_the_points_do_not_matter():
    x, y = rng(3).permutation(20).astype(float), rng(4).normal(size=20)
    fit, scaled = two_segment_fit(x, y), two_segment_fit(x[::-1] * 10, y[::-1] * 2)
    assert scaled.knee == pytest.approx(10 * fit.knee)
    assert scaled.slope_before == pytest.approx(fit.slope_before / 5)
    assert scaled.share == pytest.approx(fit.share)


def test_a_perfectly_straight_line_has_nothing_left_for_a_second_piece():
    fit = two_segment_fit(np.arange(5.0), 2 * np.arange(5.0), rng=rng())
    assert (fit.share, fit.p) == (0.0, 1.0)


@pytest.mark.parametrize("x", [[0.0, 1, 2], [0.0, 0, 1, 2], [0.0, 1, 2, np.nan]])
def test_too_few_places_are_refused(x):
    with pytest.raises(ValueError, match="four different places"):
        two_segment_fit(np.array(x), np.arange(float(len(x))))


def test_a_curve_that_begins_below_has_crossed_at_its_start():
    assert first_crossing(np.array([3.0, 4.0]), np.array([0.0, 9.0]), threshold=1.0) == 3.0
