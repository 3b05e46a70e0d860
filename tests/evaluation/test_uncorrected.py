"""A paired difference as a row by itself."""

from spillover.evaluation.uncorrected import uncorrected_comparison
from spillover.stats import paired_difference


def test_the_row_has_the_pairs_difference_in_no_family_and_without_a_flag():
    # 3 of 4 before, 1 of 4 after: -0.5 over four pairs.
    found = paired_difference([True, True, True, False], [True, False, False, False])
    names = {"before": "a", "after": "b", "metric": "capability", "concept": "all", "seed": 3}
    row = uncorrected_comparison(found, **names)
    assert (row.delta, row.n, row.flagged) == (-0.5, 4, False)
    assert (row.ci_low, row.ci_high) == (found.ci_low, found.ci_high)
    assert row.p == row.p_holm == found.p
    assert {name: getattr(row, name) for name in names} == names
