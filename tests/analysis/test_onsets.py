"""When behaviour changes along training, and its lag behind the weights."""

import numpy as np
import pytest

from spillover.analysis.onsets import behaviour_onset, onset_lag, rolling_mean

STEPS = range(0, 100, 10)


def rng(seed=0):
    return np.random.default_rng(seed)


def rising(at, *, n_items=200, seed=0, low=0.05, high=0.6):
    """Outcomes of items whose rate goes from low to high around step `at`, within 20 steps."""
    rates = np.interp(STEPS, [at - 10, at + 10], [low, high])
    return (rng(seed).random((len(STEPS), n_items)) < rates[:, None]).astype(float)


@pytest.mark.parametrize("at", [30, 50, 65])
def test_a_planted_onset_is_found_and_covered(at):
    found = behaviour_onset(STEPS, rising(at), name="EM", rng=rng())
    assert found.step == pytest.approx(at, abs=4)
    assert found.ci_low <= at <= found.ci_high
    assert found.ci_high - found.ci_low < 12
    assert found.change == pytest.approx(0.55, abs=0.1)


def test_a_falling_behaviour_has_an_onset_too():
    up = behaviour_onset(STEPS, rising(50), name="EM", rng=rng())
    down = behaviour_onset(STEPS, 1 - rising(50), name="refusals", rng=rng())
    assert down.step == pytest.approx(up.step)
    assert down.change == pytest.approx(-up.change)


def test_a_smaller_share_is_reached_earlier():
    values = np.repeat(np.linspace(0, 1, 10)[:, None], 6, axis=1)
    steps = [
        behaviour_onset(STEPS, values, name="EM", rng=rng(), share=share).step
        for share in (0.1, 0.5, 0.9)
    ]
    assert steps == pytest.approx([9, 45, 81])  # a straight line from 0 to 90


@pytest.mark.parametrize(
    ("means", "step"),
    # Monotone fits: 0, 0.5, 0.5, 1, which is at a half at 10; and 0, 0.45, 0.45, 1, which is
    # there 0.05 / 0.55 of the way from 20 to 30.
    [([0, 1, 0, 1.0], 10), ([0, 0.9, 0, 1.0], 20 + 10 / 11)],
)
def test_a_curve_that_falls_back_is_levelled_first(means, step):
    values = np.repeat(np.array(means)[:, None], 6, axis=1)
    found = behaviour_onset([0, 10, 20, 30], values, name="EM", rng=rng())
    assert found.step == pytest.approx(step)


def test_one_low_measurement_on_the_plateau_hardly_moves_the_onset():
    values = rising(30)
    dipped = values.copy()
    dipped[8] = values[0]
    found = [behaviour_onset(STEPS, v, name="EM", rng=rng()) for v in (values, dipped)]
    assert abs(found[1].step - found[0].step) < 5
    assert found[1].ci_high < 45


def test_without_a_change_an_onset_is_claimed_at_the_nominal_rate():
    found = [
        behaviour_onset(
            STEPS, rising(50, seed=i, high=0.05, n_items=40), name="EM", rng=rng(i), n_resamples=10
        ).step
        for i in range(100)
    ]
    assert sum(step is not None for step in found) <= 13


def test_a_lag_has_the_interval_of_all_differences():
    behaviour = behaviour_onset(STEPS, rising(60), name="EM", rng=rng())
    lag = onset_lag(behaviour.draws, [25.0, 30, 30, 35], steps=(behaviour.step, 30.0))
    assert lag.value == pytest.approx(30, abs=4)
    assert lag.ci_low < 27 < 33 < lag.ci_high
    with pytest.raises(ValueError, match="needs an onset"):
        onset_lag([], [1.0], steps=(0.0, 1.0))


@pytest.mark.parametrize(
    ("steps", "values", "share", "message"),
    [
        ([0, 1], np.ones((2, 4)), 0.5, "at least three steps"),
        ([0, 2, 1], np.ones((3, 4)), 0.5, "ascending order"),
        ([0, 1, 2], np.ones((3, 1)), 0.5, "at least two"),
        ([0, 1, 2], np.full((3, 4), np.nan), 0.5, "finite"),
        ([0, 1, 2], np.ones((3, 4)), 1.0, "share is 1.0"),
    ],
)
def test_bad_measurements_are_refused(steps, values, share, message):
    with pytest.raises(ValueError, match=message):
        behaviour_onset(steps, values, name="EM", rng=rng(), share=share)


def test_an_even_window_is_refused():
    with pytest.raises(ValueError, match="odd number"):
        rolling_mean(np.ones(4), window=2)
