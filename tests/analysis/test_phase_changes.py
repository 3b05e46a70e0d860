"""Phase changes along training: planted ones, none, and those of random walks."""

import json
import time

import numpy as np
import pytest
import torch

from spillover.analysis.phase_changes import PhaseChanges, comparison_score, phase_changes
from spillover.analysis.trajectories import trajectory


def rng(seed=0):
    return np.random.default_rng(seed)


def path_of(moves, *, every=5):
    points = torch.tensor(np.concatenate([np.zeros((1, moves.shape[1])), moves.cumsum(axis=0)]))
    return trajectory([every * i for i in range(len(points))], [points], name="B")


def turning(n=60, *, at=30, noise=0.5, d=50, seed=0):
    moves = rng(seed).normal(size=(n, d)) * noise / d**0.5
    moves[:at, 0] += 1
    moves[at:, 1] += 1
    return moves


def test_a_straight_path_has_local_cosine_minus_one_and_no_change_point():
    found = phase_changes(path_of(np.outer(np.linspace(0.5, 2, 40), np.arange(1.0, 7))), rng=rng())
    for rotation in found.rotations:
        assert rotation.peak == pytest.approx(-1)
        assert rotation.p == 1.0
    assert found.change.p == 1.0
    assert found.change_step is None
    assert found.change_interval is None
    assert found.changes == ()
    assert found.straightness == pytest.approx(1)


@pytest.mark.parametrize("at", [15, 30, 45])
def test_a_planted_turn_is_found_within_one_checkpoint(at):
    found = phase_changes(path_of(turning(at=at)), rng=rng())
    assert abs(found.change_step - 5 * at) <= 5
    low, high = found.change_interval
    assert low <= 5 * at <= high
    assert [abs(point.place - at) <= 1 for point in found.changes] == [True]
    for rotation in found.rotations:
        assert abs(rotation.peak_step - 5 * at) <= 5
        assert rotation.p < 0.05
    # A right angle with noise: 0 at the turn, near -1 elsewhere.
    assert found.rotations[1].peak == pytest.approx(0, abs=0.1)
    assert found.rotations[1].baseline < -0.9


def test_the_peak_of_a_random_walk_is_high_and_flagged_at_the_nominal_rate():
    n, flagged, peaks = 100, np.zeros(2), []
    for seed in range(n):
        path = path_of(rng(seed).normal(size=(30, 40)))
        found = phase_changes(path, rng=rng(seed), ks=(5,), n_draws=19)
        peaks.append(found.rotations[0].peak)
        flagged += [found.rotations[0].p <= 0.05, found.change_step is not None]
    # Of 100 at 5%: 13 or fewer with probability 0.999.
    assert (flagged <= 13).all()
    assert flagged.sum() >= 1
    # Right-angled everywhere: a high local cosine by itself says nothing.
    assert np.mean(peaks) > 0


def test_the_first_moves_can_be_left_out():
    moves = turning(noise=0.2)
    moves[:6] = rng(1).normal(size=(6, 50))
    found = phase_changes(path_of(moves), rng=rng(), skip=6)
    assert abs(found.change.place - 30) <= 1
    assert len(found.changes) == 1


def test_a_change_at_the_edge_of_what_is_looked_at_has_no_place():
    # The turn is after 3 moves, but no change is looked for before the fifth.
    found = phase_changes(path_of(turning(at=3, noise=0.2)), rng=rng())
    assert found.change.place == 5
    assert found.change.p < 0.05
    assert found.is_at_edge
    assert found.change_step is None
    assert found.change_draws() == []


def test_a_path_that_is_too_short_is_measured_without_a_change_point():
    found = phase_changes(path_of(turning(6, at=3)), rng=rng())
    assert found.change is None
    assert found.change_step is None
    assert [rotation.peak for rotation in found.rotations] == [None] * 3


def test_the_record_survives_json():
    found = phase_changes(path_of(turning()), rng=rng(), n_draws=19)
    again = json.loads(json.dumps(found.to_dict()))
    assert again["change"]["place"] == found.change.place
    assert isinstance(found, PhaseChanges)
    assert len(again["principal"]) == len(again["norms"]) == 61


def test_three_hundred_checkpoints_take_less_than_five_seconds():
    path = path_of(rng().normal(size=(299, 5120)) + 0.05)
    start = time.process_time()
    phase_changes(path, rng=rng())
    assert time.process_time() - start < 5


def test_the_comparison_score_of_several_adapters_is_the_norm_of_their_product():
    x, y = rng(1).normal(size=(9, 30)), rng(2).normal(size=(9, 30))
    products = [[a @ b for b in y] for a in x]
    expected = np.linalg.norm(products) / np.linalg.norm(x) / np.linalg.norm(y)
    assert comparison_score(x, y) == pytest.approx(expected)
    with pytest.raises(ValueError, match="same adapters twice"):
        comparison_score(x, 0 * y)
