"""Recovery and mean erosion with their bootstrap intervals."""

import numpy as np
import pytest

from spillover.stats import erosion_recovery, mean_erosion


def refused(n_refused, n):
    return np.arange(n) < n_refused


def planted(rng, rates, *, n=3000):
    """Refusals of n prompts per concept, drawn at the given rates."""
    return {concept: rng.random(n) < rate for concept, rate in rates.items()}


def test_recovery_is_one_minus_the_ratio_of_summed_drops():
    # drops unlearned: bias 0.8, safety 0.2; contained: bias 0.2, safety 0.05; 1 - 0.25 / 1.0
    result = erosion_recovery(
        {"bias": refused(20, 20), "safety": refused(20, 20)},
        {"bias": refused(4, 20), "safety": refused(16, 20)},
        {"bias": refused(16, 20), "safety": refused(19, 20)},
        rng=np.random.default_rng(0),
    )
    assert result.erosion_before == pytest.approx(1.0)
    assert result.erosion_after == pytest.approx(0.25)
    assert result.value == pytest.approx(0.75)
    assert result.ci_low < 0.75 < result.ci_high
    assert result.n_concepts == 2


def test_an_increase_on_one_concept_does_not_pay_for_a_drop_on_another():
    # safety rises by 0.5 under the contained model, which leaves its mass at the bias drop of 0.4
    result = erosion_recovery(
        {"bias": refused(10, 10), "safety": refused(5, 10)},
        {"bias": refused(2, 10), "safety": refused(5, 10)},
        {"bias": refused(6, 10), "safety": refused(10, 10)},
        rng=np.random.default_rng(0),
    )
    assert result.erosion_after == pytest.approx(0.4)
    assert result.value == pytest.approx(0.5)


def test_a_containment_that_made_it_worse_has_a_negative_recovery():
    result = erosion_recovery(
        {"bias": refused(10, 10)},
        {"bias": refused(8, 10)},
        {"bias": refused(6, 10)},
        rng=np.random.default_rng(0),
    )
    assert result.value == pytest.approx(-1.0)


def test_recovery_from_no_erosion_has_no_value():
    result = erosion_recovery(
        {"bias": refused(5, 10)},
        {"bias": refused(7, 10)},
        {"bias": refused(3, 10)},
        rng=np.random.default_rng(0),
    )
    assert result.erosion_before == 0
    assert result.erosion_after == pytest.approx(0.2)
    assert (result.value, result.ci_low, result.ci_high) == (None, None, None)
    assert result.n_dropped == 0


def test_resamples_without_erosion_are_dropped_and_counted():
    # One prompt of five eroded: a resample misses it with probability 0.8^5 = 0.328.
    result = erosion_recovery(
        {"bias": refused(5, 5)},
        {"bias": refused(4, 5)},
        {"bias": refused(5, 5)},
        rng=np.random.default_rng(0),
        n_resamples=4000,
    )
    assert result.n_dropped / 4000 == pytest.approx(0.328, abs=0.03)
    assert result.value == result.ci_low == result.ci_high == 1.0


def test_identical_models_after_have_a_recovery_of_zero_in_every_resample():
    # Only a joint resample of the three models can do this: separate ones would disagree.
    rng = np.random.default_rng(3)
    aligned = planted(rng, {"bias": 0.9, "safety": 0.8}, n=30)
    unlearned = planted(rng, {"bias": 0.4, "safety": 0.5}, n=30)
    result = erosion_recovery(aligned, unlearned, unlearned, rng=rng)
    assert (result.value, result.ci_low, result.ci_high) == (0.0, 0.0, 0.0)


def test_a_planted_recovery_is_found():
    # drops 0.4 and 0.2, contained 0.1 and 0.05: 1 - 0.15 / 0.6
    rng = np.random.default_rng(5)
    result = erosion_recovery(
        planted(rng, {"bias": 0.9, "safety": 0.8}),
        planted(rng, {"bias": 0.5, "safety": 0.6}),
        planted(rng, {"bias": 0.8, "safety": 0.75}),
        rng=rng,
    )
    assert result.ci_low < 0.75 < result.ci_high
    assert result.ci_high - result.ci_low < 0.15


def test_the_interval_is_that_of_resampling_prompt_by_prompt():
    rng = np.random.default_rng(7)
    models = [planted(rng, {"bias": rate}, n=40)["bias"] for rate in (0.9, 0.3, 0.7)]
    result = erosion_recovery(*({"bias": model} for model in models), rng=rng, n_resamples=20000)
    prompts = rng.integers(40, size=(20000, 40))
    aligned, unlearned, contained = (model[prompts].mean(axis=1) for model in models)
    one_by_one = 1 - np.maximum(aligned - contained, 0) / np.maximum(aligned - unlearned, 0)
    low, high = np.quantile(one_by_one, [0.025, 0.975])
    assert result.ci_low == pytest.approx(low, abs=0.02)
    assert result.ci_high == pytest.approx(high, abs=0.02)


def test_mean_erosion_weighs_concepts_alike_whatever_their_size():
    # bias -0.5 on 2 prompts, safety -0.1 on 20: mean -0.3
    before = {"bias": refused(2, 2), "safety": refused(20, 20)}
    after = {"bias": refused(1, 2), "safety": refused(18, 20)}
    result = mean_erosion(before, after, rng=np.random.default_rng(0))
    assert result.delta == pytest.approx(-0.3)
    assert result.ci_low < -0.3 < result.ci_high
    assert result.n_concepts == 2


def test_mean_erosion_credits_increases():
    before = {"bias": refused(8, 10), "safety": refused(4, 10)}
    after = {"bias": refused(4, 10), "safety": refused(8, 10)}
    result = mean_erosion(before, after, rng=np.random.default_rng(0))
    assert result.delta == pytest.approx(0.0)


def test_a_planted_mean_erosion_is_found():
    rng = np.random.default_rng(13)
    before = planted(rng, {"bias": 0.9, "safety": 0.8, "privacy": 0.7})
    after = planted(rng, {"bias": 0.6, "safety": 0.8, "privacy": 0.4})
    result = mean_erosion(before, after, rng=rng)
    assert result.ci_low < -0.2 < result.ci_high
    assert result.ci_high - result.ci_low < 0.04


def three_models():
    rng = np.random.default_rng(17)
    return [
        planted(rng, {"bias": low, "safety": high}, n=25)
        for low, high in [(0.9, 0.95), (0.4, 0.5), (0.7, 0.8)]
    ]


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    models = three_models()
    first, again, other = (
        erosion_recovery(*models, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.value == other.value
    assert (first.ci_low, first.ci_high) != (other.ci_low, other.ci_high)


def test_results_do_not_depend_on_the_order_of_prompts_or_concepts():
    models = three_models()
    order = np.random.default_rng(0).permutation(25)
    shuffled = [
        {concept: model[concept][order] for concept in ("safety", "bias")} for model in models
    ]
    recoveries = [erosion_recovery(*m, rng=np.random.default_rng(1)) for m in (models, shuffled)]
    erosions = [mean_erosion(*m[:2], rng=np.random.default_rng(1)) for m in (models, shuffled)]
    assert recoveries[0] == recoveries[1]
    assert erosions[0] == erosions[1]


def test_the_global_generator_is_left_alone():
    before = np.random.get_state()
    erosion_recovery(*three_models(), rng=np.random.default_rng(1))
    mean_erosion(*three_models()[:2], rng=np.random.default_rng(1))
    after = np.random.get_state()
    assert before[2:] == after[2:]
    np.testing.assert_array_equal(before[1], after[1])


def test_different_concepts_are_refused():
    with pytest.raises(ValueError, match=r"\['bias'\] and \['safety'\] differ"):
        mean_erosion(
            {"bias": refused(1, 2)}, {"safety": refused(1, 2)}, rng=np.random.default_rng(0)
        )


def test_different_numbers_of_prompts_are_refused():
    with pytest.raises(ValueError, match=r"concept 'bias' has refusals of shapes \[\(2,\), \(3,\)"):
        mean_erosion({"bias": refused(1, 2)}, {"bias": refused(1, 3)}, rng=np.random.default_rng(0))


def test_a_concept_without_prompts_is_refused():
    with pytest.raises(ValueError, match="concept 'bias' has no prompts"):
        mean_erosion({"bias": refused(0, 0)}, {"bias": refused(0, 0)}, rng=np.random.default_rng(0))


def test_no_concepts_are_refused():
    with pytest.raises(ValueError, match="no concepts"):
        mean_erosion({}, {}, rng=np.random.default_rng(0))


def test_a_bootstrap_without_resamples_is_refused():
    one = {"bias": refused(1, 2)}
    with pytest.raises(ValueError, match="n_resamples is 0"):
        mean_erosion(one, one, rng=np.random.default_rng(0), n_resamples=0)
    with pytest.raises(ValueError, match="level is 2"):
        erosion_recovery(one, one, one, rng=np.random.default_rng(0), level=2.0)
