"""Angles between the subspaces of two sets of directions, with their nulls."""

import pytest
import torch

from spillover.analysis.subspace_angles import plot_subspace_angles, subspace_angles

WIDTH = 40


def rows_in(axes, *, n=12, seed=0, noise=0.05):
    """Directions that lie in the span of some axes but for noise."""
    generator = torch.Generator().manual_seed(seed)
    rows = noise * torch.randn(n, WIDTH, generator=generator)
    rows[:, list(axes)] += torch.randn(n, len(axes), generator=generator)
    return rows


def states(*, seed=9, wide=()):
    """States with the same spread everywhere, or mostly along some axes."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.ones(WIDTH)
    scales[list(wide)] = 50.0
    return torch.randn(200, WIDTH, generator=generator) * scales


def angles(first, second, *, of=None, seed=3, **settings):
    given = {"layer": 4, "generator": torch.Generator().manual_seed(seed), "n_draws": 99}
    return subspace_angles(first, second, states() if of is None else of, **given | settings)


def test_subspaces_that_share_a_plane_have_two_small_angles_and_a_small_p():
    found = angles(rows_in((0, 1, 2)), rows_in((0, 1, 5), seed=1))
    assert found.layer == 4
    assert found.angles[1] < 15 < 75 < found.angles[2]
    assert (found.p_random, found.p_matched) == (0.01, 0.01)
    assert found.angles[0] < found.random_low[0]


def test_subspaces_that_share_nothing_are_within_both_nulls():
    found = angles(rows_in((0, 1, 2), noise=0.3), rows_in((5, 6, 7), seed=1, noise=0.3))
    assert found.p_random > 0.05
    assert found.p_matched > 0.05
    assert found.angles[0] > 60


def test_what_lies_where_states_vary_is_near_by_itself():
    # Both sets lie where all states vary; only the matched null knows.
    wide = (0, 1, 2, 3)
    found = angles(rows_in(wide), rows_in(wide, seed=1), of=states(wide=wide))
    assert found.p_random == 0.01
    assert found.p_matched > 0.1
    assert found.matched_low[0] <= found.angles[0] <= found.matched_high[0]


def test_two_directions_span_at_most_a_plane():
    found = angles(rows_in((0, 1, 2), n=2), rows_in((0, 1, 2), n=5, seed=1))
    assert len(found.angles) == 2


def test_rows_that_are_combinations_of_others_count_once():
    two = rows_in((0, 1, 2), n=2)
    found = angles(torch.cat([two, two.sum(dim=0, keepdim=True), 0 * two]), rows_in((0, 1, 2)))
    assert len(found.angles) == 2


@pytest.mark.parametrize("n", [0, 3])
def test_a_set_without_directions_is_refused(n):
    with pytest.raises(ValueError, match="layer 4: a set has no directions"):
        angles(torch.zeros(n, WIDTH), rows_in((0,)))


def test_angles_by_layer_become_a_figure():
    figure = plot_subspace_angles(
        [angles(rows_in((0, 1)), rows_in((2, 3)), layer=i) for i in (0, 1)]
    )
    assert figure.axes[0].get_ylabel() == "degrees"
