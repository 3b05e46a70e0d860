"""Projections and principal components of paths, and what random walks give."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from spillover.analysis.path_shapes import final_projection, principal_path
from spillover.analysis.trajectories import trajectory


def path_of(points):
    points = torch.as_tensor(points, dtype=torch.float64)
    return trajectory(range(len(points)), [points], name="path")


def random_points(n=12, d=40, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_walk(n=300, d=4000, seed=0):
    return random_points(n, d, seed).cumsum(dim=0)


def test_a_straight_path_points_at_its_end_from_the_start():
    found = final_projection(path_of(np.outer(np.arange(6.0) ** 2, [1.0, 2.0])))
    assert_close(found.cosine[1:], np.ones(5))
    assert_close(found.along, np.arange(6.0) ** 2 / 25)


def test_a_random_walk_projects_on_its_end_as_the_square_root_of_time():
    found = final_projection(path_of(random_walk()))
    assert_close(found.cosine[1:], found.random_walk[1:], atol=0.06, rtol=0)
    assert found.random_walk[75] == pytest.approx(0.5, abs=0.01)
    assert found.along[[0, -1]].tolist() == pytest.approx([0, 1])


def test_principal_components_are_those_of_the_centred_points():
    points = random_points()
    found = principal_path(path_of(points))
    centred = points - points.mean(dim=0)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    assert_close(found.shares, (s[:2] ** 2 / (s**2).sum()).numpy())
    assert_close(np.abs(found.scores), (u[:, :2] * s[:2]).abs().numpy())


def test_the_second_component_of_a_random_walk_turns_half_way():
    found = principal_path(path_of(random_walk()))
    assert_close(found.shares, found.random_walk, atol=0.03, rtol=0)
    assert abs(found.scores[:, 1].argmin() - 150) < 30  # ends are up, the middle is down


def test_a_path_of_nothing_but_one_place_has_no_end_and_no_components():
    path = path_of(np.ones((5, 3)))
    assert principal_path(path).shares.tolist() == [0, 0]
    with pytest.raises(ValueError, match="first and last checkpoint are the same"):
        final_projection(path)


def test_more_components_than_checkpoints_are_refused():
    with pytest.raises(ValueError, match="4 components of 4 checkpoints"):
        principal_path(path_of(random_points(4)), n_components=4)
