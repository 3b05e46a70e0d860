"""Probes of a few numbers an answer: planted labels, none, and the rate of false alarms."""

import numpy as np
import pytest

from spillover.analysis.scalar_probes import scalar_probe


def rng(seed=0):
    return np.random.default_rng(seed)


def answers(effect, *, n=100, per_prompt=2, seed=0):
    """Nine numbers an answer, of which the third is larger with the label."""
    draw = rng(seed)
    labels = draw.random(n) < 0.4
    features = draw.normal(size=(n, 9)) * np.arange(1, 10)
    features[:, 2] += 3 * effect * labels  # its spread is 3
    return features, labels, [f"prompt {i // per_prompt}" for i in range(n)]


def test_a_planted_label_is_read_off_the_number_that_carries_it():
    found = scalar_probe(*answers(2.0), label="misaligned", rng=rng(), n_permutations=19)
    # Two normal distributions two standard deviations apart: P(larger) = Phi(2 / sqrt 2) = 0.921.
    assert found.auc.value == pytest.approx(0.921, abs=0.08)
    assert found.auc.ci_low < 0.921 < found.auc.ci_high
    assert found.p == 0.05
    assert int(np.argmax(np.abs(found.coefficients))) == 2
    assert sum(value != 0 for value in found.coefficients) <= 5
    assert found.single[2] == pytest.approx(0.921, abs=0.08)
    assert found.n_groups == 50


def test_numbers_without_a_label_are_flagged_at_the_nominal_rate():
    # 19 permutations: p is at most 0.05 for one in twenty; of 40, six or fewer with P = 0.99.
    flagged = sum(
        scalar_probe(
            *answers(0.0, n=40, seed=seed),
            label="none",
            rng=rng(seed),
            n_permutations=19,
            n_resamples=20,
            n_folds=2,
        ).p
        <= 0.05
        for seed in range(40)
    )
    assert flagged <= 6


def test_labels_that_only_follow_the_prompt_show_nothing():
    # Each prompt has its own level and its own label: 50 answers, but 5 independent labels.
    draw = rng(3)
    levels = draw.normal(size=(10, 4)) * 5
    labels = np.repeat(np.arange(10) % 2 == 0, 10)
    features = np.repeat(levels, 10, axis=0) + draw.normal(size=(100, 4))
    groups = [f"prompt {i // 10}" for i in range(100)]
    found = scalar_probe(features, labels, groups, label="x", rng=rng(), n_permutations=19)
    assert found.p > 0.05


def test_scale_and_offset_of_a_number_do_not_matter():
    features, labels, groups = answers(1.0)
    found, scaled = (
        scalar_probe(x, labels, groups, label="x", rng=rng(), n_permutations=1, n_resamples=20)
        for x in (features, 1e3 * features + 7)
    )
    assert scaled.auc.value == pytest.approx(found.auc.value)
    assert scaled.coefficients == pytest.approx(found.coefficients, abs=1e-3)


def test_too_few_prompts_or_answers_of_a_kind_are_refused():
    features, labels, groups = answers(1.0)
    with pytest.raises(ValueError, match="3 prompts"):
        scalar_probe(features, labels, ["a", "b", "c", "c"] * 25, label="x", rng=rng())
    with pytest.raises(ValueError, match="0 answers with"):
        scalar_probe(features, labels & False, groups, label="x", rng=rng())
