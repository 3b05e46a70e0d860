"""Seeds become one number each; hand-worked intervals."""

from dataclasses import replace

import pytest

from spillover.report.pooling import (
    estimates,
    judges_by_metric,
    mean_change,
    pooled_comparisons,
    pooled_recoveries,
)
from spillover.stats.intervals import mean_interval
from tests.report.studies import change, recovered, score

KEY = ("aligned", "refusal_rate", "bias")


def test_one_seed_keeps_its_interval_over_prompts():
    estimate = estimates([score("aligned", "bias", 0.5)])[KEY]
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0.42, pytest.approx(0.58))


def test_several_seeds_give_their_mean_with_a_t_interval():
    rows = [score("aligned", "bias", v, seed=s) for s, v in enumerate((0.4, 0.5, 0.6))]
    estimate = estimates(rows)[KEY]
    # t(0.975, 2) = 4.303; standard error = 0.1 / sqrt(3) = 0.0577; half width 0.248
    assert estimate.value == pytest.approx(0.5)
    assert estimate.low == pytest.approx(0.252, abs=1e-3)
    assert estimate.n_seeds == 3


def test_a_t_interval_of_a_rate_stays_between_zero_and_one():
    rows = [score("aligned", "bias", v, seed=s) for s, v in enumerate((0.9, 1.0))]
    assert estimates(rows)[KEY].high == 1.0


def test_seeds_that_agree_do_not_claim_certainty():
    rows = [score("aligned", "bias", 0.5, seed=s) for s in range(3)]
    estimate = estimates(rows)[KEY]
    assert (estimate.low, estimate.high) == (0.42, pytest.approx(0.58))


def test_a_seed_without_a_value_is_left_out():
    rows = [score("aligned", "bias", 0.5), score("aligned", "bias", None, seed=1, n_invalid=40)]
    estimate = estimates(rows)[KEY]
    assert estimate.value == 0.5
    assert estimate.n_invalid == 40


def test_a_metric_is_shown_by_its_first_judge():
    rows = [score("aligned", "bias", 0.5), score("aligned", "bias", 0.9, judge="llm")]
    assert judges_by_metric(rows) == {"refusal_rate": ("phrases", "llm")}
    assert estimates(rows)[KEY].value == 0.5


def test_a_row_that_sums_over_seeds_is_taken_as_it_is():
    summed = change("bias", -0.3, seed=None, n=2)
    rows = [change("bias", -0.2), change("bias", -0.4, seed=1), summed]
    assert pooled_comparisons(rows) == (summed,)


def test_seeds_without_a_sum_are_averaged_and_flagged_by_the_rule():
    rows = [change("bias", d, seed=s) for s, d in enumerate((-0.30, -0.32, -0.28))]
    (pooled,) = pooled_comparisons(rows)
    expected = mean_interval([-0.30, -0.32, -0.28])
    assert pooled.delta == pytest.approx(-0.3)
    assert (pooled.ci_low, pooled.ci_high) == (expected.low, expected.high)
    assert pooled.flagged
    assert (pooled.p_holm, pooled.n, pooled.seed) == (None, 3, None)


def test_an_average_that_is_small_loses_its_flag():
    rows = [change("bias", d, seed=s) for s, d in enumerate((-0.3, 0.0, 0.0))]
    assert not pooled_comparisons(rows)[0].flagged


def test_recoveries_of_seeds_are_averaged():
    rows = [recovered(v, seed=s) for s, v in enumerate((0.8, 0.9))]
    (pooled,) = pooled_recoveries(rows)
    assert pooled.value == pytest.approx(0.85)
    assert pooled.ci_low == pytest.approx(mean_interval([0.8, 0.9]).low)
    assert pooled.ci_high == 1.0
    assert pooled.seed is None


def test_the_mean_change_of_independent_concepts_has_the_summed_variance():
    # half widths 0.3 and 0.4: sqrt(0.09 + 0.16) / 2 = 0.25
    rows = [change("bias", -0.2, half_width=0.3), change("medical", -0.6, half_width=0.4)]
    mean = mean_change(
        rows, before="aligned", after="unlearned-safety", concepts=("bias", "medical")
    )
    assert mean.value == pytest.approx(-0.4)
    assert (mean.low, mean.high) == (pytest.approx(-0.65), pytest.approx(-0.15))


def test_the_mean_change_over_seeds_takes_the_seed_as_the_unit():
    rows = [
        change(concept, delta, seed=seed)
        for seed, deltas in enumerate([(-0.2, -0.4), (-0.4, -0.6)])
        for concept, delta in zip(("bias", "medical"), deltas, strict=True)
    ]
    mean = mean_change(
        rows, before="aligned", after="unlearned-safety", concepts=("bias", "medical")
    )
    expected = mean_interval([-0.3, -0.5])
    assert mean.value == pytest.approx(-0.4)
    assert mean.low == pytest.approx(expected.low)


def test_the_mean_of_sums_over_seeds_alone_has_no_interval():
    rows = [replace(change(c, -0.3), seed=None) for c in ("bias", "medical")]
    mean = mean_change(
        rows, before="aligned", after="unlearned-safety", concepts=("bias", "medical")
    )
    assert (mean.value, mean.low) == (pytest.approx(-0.3), None)


def test_the_target_does_not_count_into_the_mean_change():
    rows = [change("safety", -0.9), change("bias", -0.1)]
    mean = mean_change(rows, before="aligned", after="unlearned-safety", concepts=("bias",))
    assert mean.value == pytest.approx(-0.1)
