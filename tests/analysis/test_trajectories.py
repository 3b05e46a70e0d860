"""The geometry of paths through weights."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from spillover.analysis.trajectories import (
    distances_from_start,
    local_cosines,
    norms,
    straightness,
    trajectory,
    update_trajectory,
)


def path_of(points, **options):
    points = torch.as_tensor(points, dtype=torch.float64)
    return trajectory(range(len(points)), [points], name="path", **options)


def random_points(n=12, d=40, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_straight_path_has_local_cosine_minus_one_everywhere():
    # The speed varies twentyfold.
    lengths = torch.linspace(0.1, 2, 30, dtype=torch.float64).cumsum(dim=0)
    points = torch.cat([torch.zeros(1, 8), lengths[:, None] * torch.arange(1.0, 9.0)])
    path = path_of(points)
    for k in (1, 5, 10):
        found = local_cosines(path, k=k)
        assert_close(found[k:-k], np.full(31 - 2 * k, -1.0))
        assert np.isnan(found[:k]).all()
        assert np.isnan(found[-k:]).all()
    assert straightness(path) == pytest.approx(1)


def test_a_path_that_goes_back_has_local_cosine_plus_one_where_it_turns():
    found = local_cosines(path_of([[0.0], [1], [2], [1], [0]]), k=1)
    assert found[1:-1].tolist() == [-1, 1, -1]


def test_local_cosines_are_those_of_the_points_themselves():
    points = random_points()
    found = local_cosines(path_of(points), k=3)
    for t in range(3, 9):
        back, ahead = points[t - 3] - points[t], points[t + 3] - points[t]
        assert found[t] == pytest.approx(torch.cosine_similarity(back, ahead, dim=0).item())


def test_a_local_cosine_of_two_short_offsets_is_left_out_and_of_one_is_not():
    path = path_of([[0.0], [0.001], [0.002], [1.0], [2.0]])
    # offsets at 1: 0.001 and 0.001; at 2: 0.001 and 0.998
    found = local_cosines(path, k=1, min_distance=0.0035)
    assert np.isnan(found[1])
    assert found[2:4].tolist() == pytest.approx([-1, -1])


def test_norms_and_distances_are_those_of_the_points_themselves():
    points = random_points()
    path = path_of(points)
    assert_close(norms(path), points.norm(dim=1).numpy())
    assert_close(distances_from_start(path), (points - points[0]).norm(dim=1).numpy())


def test_a_path_read_in_pieces_is_the_path_read_at_once():
    points = random_points()
    whole, pieces = (
        trajectory(range(12), parts, name="path") for parts in ([points], points.split(7, dim=1))
    )
    assert_close(whole.products, pieces.products)
    assert_close(norms(whole), norms(pieces))


def test_small_moves_of_large_weights_are_not_rounded_away():
    # Weights of length 1e4 that move by 1e-3: products of the weights would have an error of 1e-8.
    moves = random_points(20, 50) * 1e-4
    points = 1e3 * random_points(1, 100)[:, :50] + moves.cumsum(dim=0)
    assert_close(path_of(points).products, (moves[1:] @ moves[1:].T).numpy(), rtol=1e-6, atol=1e-18)


def test_the_path_of_the_update_is_that_of_the_products_of_its_factors():
    a = random_points(6, 3 * 5).reshape(6, 3, 5)
    b = random_points(6, 4 * 3, seed=1).reshape(6, 4, 3)
    products = (b @ a).flatten(start_dim=1)
    found = update_trajectory(range(6), [(a, b)])
    assert_close(found.products, path_of(products).products)
    assert_close(norms(found), products.norm(dim=1).numpy())
    rescaled = update_trajectory(range(6), [(a / 7, 7 * b)])
    assert_close(rescaled.products, found.products)


def test_a_path_of_nothing_but_one_place_has_no_direction():
    path = path_of(np.ones((5, 3)))
    assert np.isnan(local_cosines(path, k=1)).all()
    assert np.isnan(straightness(path))


@pytest.mark.parametrize(
    ("steps", "pieces", "message"),
    [
        ([0, 5, 5], [torch.ones(3, 2)], "ascending order of steps"),
        ([0], [torch.ones(1, 2)], "two checkpoints or more"),
        ([0, 5], [torch.ones(3, 2)], "3 rows for 2 checkpoints"),
        ([0, 5], [], "at least one piece"),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(steps, pieces, message):
    with pytest.raises(ValueError, match=message):
        trajectory(steps, pieces, name="path")


def test_impossible_settings_are_refused():
    path = path_of(random_points(4))
    with pytest.raises(ValueError, match="k is 0"):
        local_cosines(path, k=0)
    with pytest.raises(ValueError, match="at least one"):
        update_trajectory([0, 1], [])
