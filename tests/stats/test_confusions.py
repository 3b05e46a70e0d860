"""Tables of labels given and true ones."""

import numpy as np
import pytest

from spillover.stats.confusions import compare_labels


def rng():
    return np.random.default_rng(0)


def test_counts_shares_and_kappa_of_sixteen_labels_are_those_worked_by_hand():
    truth = ["a"] * 5 + ["b"] * 6 + ["c"] * 5
    given = ["a"] * 4 + ["b"] + ["b"] * 4 + ["c"] * 2 + ["a"] * 2 + ["b"] + ["c"] * 2
    found = compare_labels(given, truth, rng=rng())
    assert found.labels == ("a", "b", "c")
    assert found.counts == ((4, 1, 0), (0, 4, 2), (2, 1, 2))
    assert found.accuracy == 10 / 16
    assert found.balanced_accuracy == pytest.approx((4 / 5 + 4 / 6 + 2 / 5) / 3)
    # chance: margins 5, 6, 5 and 6, 6, 4, so (30 + 36 + 20) / 256 = 0.3359375
    assert found.kappa.value == pytest.approx((0.625 - 0.3359375) / (1 - 0.3359375))
    assert found.kappa.ci_low < found.kappa.value < found.kappa.ci_high
    assert found.ci_low < 0.625 < found.ci_high


def test_a_label_that_is_never_true_has_a_column_and_no_share():
    found = compare_labels(["a", "x"], ["a", "a"], rng=rng())
    assert found.labels == ("a", "x")
    assert found.counts == ((1, 1), (0, 0))
    assert found.balanced_accuracy == 0.5


def test_order_changes_nothing_and_one_label_leaves_no_kappa():
    given, truth = ["a", "b", "b", "c"], ["a", "b", "c", "c"]
    assert compare_labels(given, truth, rng=rng()) == compare_labels(
        given[::-1], truth[::-1], rng=rng()
    )
    assert compare_labels(["a", "a"], ["a", "a"], rng=rng()).kappa is None


@pytest.mark.parametrize(("given", "truth"), [([], []), (["a"], ["a", "b"])])
def test_labels_without_true_ones_are_refused(given, truth):
    with pytest.raises(ValueError, match="give as many, and at least one"):
        compare_labels(given, truth, rng=rng())


def test_no_resamples_are_refused():
    with pytest.raises(ValueError, match="at least one resample"):
        compare_labels(["a"], ["a"], rng=rng(), n_resamples=0)
