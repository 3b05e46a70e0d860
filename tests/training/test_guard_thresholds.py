"""Thresholds by hand, their measured rate, and what they refuse."""

import math

import numpy as np
import pytest

from spillover.training.guard_thresholds import GuardThresholds, fit_thresholds


def run(*values, name="first_token_kl"):
    return [{name: value} for value in values]


def test_thresholds_by_hand():
    # Highest values 1, 2, 3, 4; their root mean square, 2.739, is the scale. With a rate of 0.4 the
    # ceil(5 * 0.6) = third smallest score counts: 3 / 2.739, so the threshold is 3.
    runs = [run(0.0, 1.0), run(2.0, 0.5), run(3.0), run(4.0, 1.0)]
    found = fit_thresholds(runs, false_alarm_rate=0.4)
    assert found.values["first_token_kl"] == pytest.approx(3.0)
    # Without 1: 2, 3, 4 give ceil(4 * 0.6) = the third, 4. Without 4 it is 3, which 4 exceeds:
    # one false alarm in four.
    assert found.measured_rate == 0.25
    assert found.n_runs == 4
    assert found.ci_low < 0.25 < found.ci_high


def test_two_signals_share_one_score_by_hand():
    # a: 3 and 4 with scale sqrt(25 / 2) = 3.536; b: 0 and 2 with scale sqrt(4 / 2) = 1.414.
    # Scores 3 / 3.536 = 0.849 and max(1.131, 1.414); with a rate of 0.5 the second counts, 1.414.
    runs = [[{"a": 3.0, "b": 0.0}], [{"a": 4.0, "b": 2.0}]]
    found = fit_thresholds(runs, false_alarm_rate=0.5).values
    assert found["a"] == pytest.approx(5.0)
    assert found["b"] == pytest.approx(2.0)


def test_a_signal_is_an_alarm_only_above_its_threshold_and_only_if_it_has_one():
    limits = GuardThresholds(values={"refusal_drop": 1.0})
    assert limits.exceeded({"refusal_drop": 1.0, "first_token_kl": 99.0}) == {}
    assert limits.exceeded({"refusal_drop": 1.1}) == {"refusal_drop": 1.1}


def test_scaling_a_signal_scales_its_threshold_and_no_other():
    rng = np.random.default_rng(0)
    runs = [[{"a": float(a), "b": float(b)}] for a, b in rng.exponential(size=(20, 2))]
    scaled = [[{"a": 10 * s["a"], "b": s["b"]} for s in own] for own in runs]
    one, other = (fit_thresholds(found, false_alarm_rate=0.2) for found in (runs, scaled))
    assert other.values["a"] == pytest.approx(10 * one.values["a"])
    assert other.values["b"] == pytest.approx(one.values["b"])
    assert other.measured_rate == one.measured_rate


def test_new_runs_of_the_same_kind_alarm_about_as_often_as_asked():
    rates, measured = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        runs = [[{"a": float(a), "b": float(b)}] for a, b in rng.lognormal(size=(40, 2))]
        limits = fit_thresholds(runs, false_alarm_rate=0.1)
        new = rng.lognormal(size=(2000, 2))
        above = (new[:, 0] > limits.values["a"]) | (new[:, 1] > limits.values["b"])
        rates.append(above.mean())
        measured.append(limits.measured_rate)
    # Over one draw of 40 runs the rate varies by 0.05; over 20 draws its mean by 0.012.
    assert np.mean(rates) == pytest.approx(0.1, abs=0.035)
    assert np.mean(measured) == pytest.approx(0.1, abs=0.035)


def test_a_signal_that_never_rose_alarms_at_the_first_rise():
    runs = [[{"a": -1.0, "b": float(i)}] for i in range(1, 5)]
    limits = fit_thresholds(runs, false_alarm_rate=0.4)
    assert limits.values["a"] > 0
    assert math.isfinite(limits.values["a"])


@pytest.mark.parametrize(
    ("runs", "rate", "message"),
    [
        ([run(1.0)] * 9, 0.1, "9 benign runs.* needs at least 10 runs"),
        ([run(1.0), []], 0.5, "1 of them without a measurement"),
        ([run(1.0)] * 4, 1.0, "false_alarm_rate is 1.0"),
        ([run(1.0), run(1.0, name="other")], 0.5, "the runs have different signals"),
    ],
)
def test_too_few_or_unlike_runs_are_refused(runs, rate, message):
    with pytest.raises(ValueError, match=message):
        fit_thresholds(runs, false_alarm_rate=rate)
