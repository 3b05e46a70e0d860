"""Cosines between the directions of two contrasts, with the nulls that each claim needs."""

import numpy as np
import pytest

from spillover.analysis.contrasts import difference
from spillover.analysis.convergence import (
    change_cosines,
    cosine_matrix,
    direction_cosines,
    plot_cosines,
)
from tests.analysis.test_contrasts import contrast_of

WIDTH = 24


def planted(direction, *, n=40, seed=0, noise=1.0, layers=2):
    """States whose kinds differ by a direction at every layer."""
    rng = np.random.default_rng(seed)
    shape = (layers, n, WIDTH)
    positive = rng.normal(size=shape) * noise + np.asarray(direction)
    return contrast_of(positive, rng.normal(size=shape) * noise)


def axis(i, length=3.0):
    return length * np.eye(WIDTH)[i]


def compare(first, second, **settings):
    given = {"names": ("a", "b"), "rng": np.random.default_rng(0)} | settings
    return direction_cosines(first, second, n_resamples=200, n_shuffles=199, **given)


def test_a_shared_direction_is_found_at_every_layer_with_small_p():
    found = compare(planted(axis(0), seed=1), planted(axis(0), seed=2))
    for at in found.layers:
        assert at.cosine.ci_low > 0.6
        assert at.null_high < at.cosine.ci_low
        assert at.p_shuffled == pytest.approx(1 / 200)
        assert at.p_any_layer == pytest.approx(1 / 200)
        assert at.p_random < 1e-6


def test_opposed_directions_are_found_as_well():
    found = compare(planted(axis(0), seed=1), planted(-axis(0), seed=2))
    assert all(at.cosine.ci_high < -0.6 and at.p_shuffled < 0.01 for at in found.layers)


def test_orthogonal_directions_are_within_the_null():
    found = compare(planted(axis(0), seed=1), planted(axis(1), seed=2))
    assert all(at.cosine.ci_low < 0 < at.cosine.ci_high for at in found.layers)
    assert all(at.p_any_layer > 0.05 for at in found.layers)


def test_texts_that_vary_along_one_axis_fool_the_random_null_but_not_the_shuffled_one():
    # Nothing tells the kinds apart, but all states vary along one axis a lot.
    rng = np.random.default_rng(5)
    sides = []
    for _ in range(2):
        states = rng.normal(size=(1, 80, WIDTH)) * 0.05
        states[0, :, 0] += rng.normal(size=80)
        sides.append(contrast_of(states[:, :40], states[:, 40:]))
    (at,) = compare(*sides).layers
    assert at.p_random < 0.001
    assert at.p_shuffled > 0.2


def test_the_same_texts_read_twice_agree_under_any_labels():
    # Two models with nearly the same states of the same texts.
    one = planted(np.zeros(WIDTH), seed=3, layers=1)
    rng = np.random.default_rng(4)
    other = contrast_of(
        one.positive.numpy() + 0.1 * rng.normal(size=one.positive.shape),
        one.negative.numpy() + 0.1 * rng.normal(size=one.negative.shape),
    )
    (fooled,) = compare(one, other).layers
    assert (
        fooled.p_shuffled < 0.02
    )  # As if the labels of the two had nothing to do with each other.
    (honest,) = compare(one, other, same_texts=True).layers
    assert honest.p_shuffled > 0.1
    assert honest.null_low > 0.9


def test_p_values_under_the_null_are_uniform():
    rng = np.random.default_rng(9)
    p = []
    for seed in range(40):
        first = planted(np.zeros(WIDTH), n=12, seed=100 + seed, layers=1)
        second = planted(np.zeros(WIDTH), n=12, seed=500 + seed, layers=1)
        found = direction_cosines(
            first, second, names=("a", "b"), rng=rng, n_resamples=2, n_shuffles=59
        )
        p.append(found.layers[0].p_shuffled)
    # P(p <= 0.2) = 0.2: 8 of 40 expected, with a standard deviation of 2.5.
    assert 2 <= sum(value <= 0.2 for value in p) <= 15
    assert 0.35 < np.mean(p) < 0.65


def test_a_matrix_of_cosines_at_one_layer():
    contrasts = [planted(axis(0), noise=0.01), planted(axis(0) + axis(1), noise=0.01)]
    found = cosine_matrix(contrasts, layer=1)
    np.testing.assert_allclose(found, [[1, 2**-0.5], [2**-0.5, 1]], atol=0.01)
    with pytest.raises(ValueError, match="layer 7 is not among"):
        cosine_matrix(contrasts, layer=7)


def test_a_comparison_becomes_a_table_and_a_figure():
    found = compare(planted(axis(0)), planted(axis(1), seed=2))
    assert list(found.to_frame().layer) == [0, 1]
    assert len(found.plot().axes) == 1
    assert "different texts" in found.caption


def test_contrasts_of_other_layers_or_sizes_are_refused():
    with pytest.raises(ValueError, match="differ in layers, site or width"):
        compare(planted(axis(0)), planted(axis(0), layers=1))
    with pytest.raises(ValueError, match="not of one text set"):
        compare(planted(axis(0)), planted(axis(0), n=39), same_texts=True)


def trained(start, change, *, noise=1.0, seed=0, layers=2):
    """The same texts after a training that adds `change` to what is positive."""
    rng = np.random.default_rng(seed)
    sides = [
        np.asarray(side) + rng.normal(size=side.shape) * noise
        for side in (start.positive, start.negative)
    ]
    return contrast_of(sides[0] + np.asarray(change), sides[1])


def changes(first, second, start):
    return change_cosines(
        first,
        second,
        start=start,
        names=("a", "b"),
        rng=np.random.default_rng(0),
        n_resamples=100,
        n_shuffles=199,
    )


def test_what_two_trainings_add_alike_is_found_though_the_start_agrees_with_itself():
    start = planted(axis(0))
    pair = [trained(start, axis(1), seed=seed) for seed in (1, 2)]
    for at in changes(*pair, start).layers:
        assert at.cosine.value > 0.7
        assert at.p_shuffled == pytest.approx(1 / 200)
        assert at.null_high < at.cosine.ci_low


def test_trainings_that_add_different_things_agree_on_nothing():
    start = planted(axis(0))
    pair = [trained(start, axis(i), seed=i) for i in (1, 2)]
    assert all(abs(at.cosine.value) < 0.4 for at in changes(*pair, start).layers)


def test_lengthening_the_start_s_direction_is_no_agreement():
    start = planted(axis(0))
    longer = difference(start).numpy()[:, None]
    pair = [trained(start, longer, seed=seed) for seed in (1, 2)]
    assert all(at.p_any_layer > 0.05 for at in changes(*pair, start).layers)
    # Without taking it out they would agree: both changed along it.
    assert compare(*pair, same_texts=True).layers[0].cosine.value > 0.9


def test_changes_of_other_texts_are_refused():
    with pytest.raises(ValueError, match="not of one text set"):
        changes(planted(axis(0)), planted(axis(0), n=30), planted(axis(0)))


def test_several_pairs_share_a_figure():
    found = compare(planted(axis(0)), planted(axis(0), seed=1))
    assert len(plot_cosines([found, found]).axes) == 2
