"""Where paths turn, and how often random walks are said to."""

import numpy as np
import pytest
from scipy.stats import binom

from spillover.stats.change_points import (
    find_change_point,
    find_change_points,
    memory_limit,
    memory_of,
    split_shares,
    unit_products,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def products_of(moves):
    return moves @ moves.T


def turning(n, *, at, noise, d=60, seed=0, degrees=90.0):
    """Moves along one axis, then along another, with noise of that length."""
    draw = rng(seed)
    moves = draw.normal(size=(n, d)) * noise / np.sqrt(d)
    moves[:at, 0] += 1
    moves[at:, 0] += np.cos(np.radians(degrees))
    moves[at:, 1] += np.sin(np.radians(degrees))
    return moves


def test_the_share_of_a_split_is_the_between_groups_sum_of_squares():
    moves = rng(1).normal(size=(9, 4))
    spread = ((moves - moves.mean(axis=0)) ** 2).sum()
    for t, share in enumerate(split_shares(products_of(moves)), start=1):
        groups = (moves[:t], moves[t:])
        between = sum(len(g) * ((g.mean(axis=0) - moves.mean(axis=0)) ** 2).sum() for g in groups)
        assert share == pytest.approx(between / spread)


@pytest.mark.parametrize("speed", ["constant", "varying"])
def test_a_straight_path_has_no_change_point_whatever_its_speed(speed):
    lengths = np.ones(40) if speed == "constant" else rng().uniform(0.01, 3, size=40)
    moves = lengths[:, None] * rng(2).normal(size=30)
    found = find_change_point(products_of(moves), rng=rng())
    assert (found.share, found.p) == (0.0, 1.0)
    assert find_change_points(products_of(moves), rng=rng()) == []


@pytest.mark.parametrize("at", [12, 30, 50])
@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_a_planted_turn_is_found_within_one_move(at, noise):
    found = find_change_point(products_of(turning(60, at=at, noise=noise)), rng=rng())
    assert abs(found.place - at) <= 1
    assert found.p == pytest.approx(1 / 500)
    assert found.ci_low <= at <= found.ci_high


@pytest.mark.parametrize(("at", "place"), [(2, 5), (18, 15)])
def test_a_turn_near_an_end_is_placed_where_min_moves_are_left_on_either_side(at, place):
    found = find_change_point(
        products_of(turning(20, at=at, noise=0.1)), rng=rng(), min_moves=5, memory=0.0
    )
    assert found.place == place
    assert found.ci_low >= 5
    assert found.ci_high <= 15


def test_two_turns_are_both_found():
    moves = np.concatenate([turning(40, at=20, noise=0.3), turning(20, at=1, noise=0.3, seed=5)])
    moves[40:, :2] = [0.0, -1.0]
    places = [point.place for point in find_change_points(products_of(moves), rng=rng())]
    assert places == pytest.approx([20, 40], abs=1)


def flag_rate(moves_of, *, n=200, **options):
    """Share of paths with p at most 0.05; 19 shuffles are the fewest that can give it."""
    found = [
        find_change_point(products_of(moves_of(seed)), rng=rng(seed), n_draws=19, **options).p
        for seed in range(n)
    ]
    return np.mean(np.array(found) <= 0.05)


# Of 200 paths at 5%, between 3 and 20 with probability 0.998.
LOW, HIGH = binom.ppf([0.001, 0.999], 200, 0.05) / 200


@pytest.mark.parametrize("drift", [0.0, 0.5])
@pytest.mark.parametrize(("memory", "low"), [(0.0, LOW), (None, 0.0)])
def test_random_walks_are_flagged_at_the_nominal_rate(drift, memory, low):
    # Exactly without memory; where it is estimated an upper limit is taken off: at most.
    def walk(seed):
        moves = rng(seed).normal(size=(30, 20))
        moves[:, 0] += drift * 20**0.5
        return moves * rng(seed).uniform(0.2, 2, size=(30, 1))

    assert low <= flag_rate(walk, memory=memory) <= HIGH


def remembering(seed, keeps, *, n=60, before=60):
    """A walk whose moves keep a share of the one before, from long before it is looked at."""
    noise, moves = rng(seed).normal(size=(n + before, 20)), np.zeros((n + before, 20))
    for i in range(1, n + before):
        moves[i] = keeps * moves[i - 1] + noise[i]
    return moves[before:]


@pytest.mark.parametrize("keeps", [0.7, 0.95])
def test_walks_with_momentum_are_flagged_at_most_at_the_nominal_rate(keeps):
    assert flag_rate(lambda seed: remembering(seed, keeps)) <= HIGH
    assert flag_rate(lambda seed: remembering(seed, keeps), n=20, memory=0.0) > 0.9
    assert memory_of(products_of(remembering(0, keeps))) == pytest.approx(keeps, abs=0.1)


def test_long_memory_is_flagged_too_often_if_its_estimate_rather_than_its_limit_is_taken_off():
    def flagged(of):
        hits = 0
        for seed in range(100):
            products = products_of(remembering(seed, 0.95))
            kept = min(of(products), 0.95)
            hits += find_change_point(products, rng=rng(seed), n_draws=19, memory=kept).p <= 0.05
        return hits

    assert flagged(memory_of) > flagged(memory_limit)


def test_the_limit_of_memory_lies_less_above_its_estimate_the_more_dimensions_there_are():
    def above(d):
        moves = rng(1).normal(size=(60, d))
        return memory_limit(products_of(moves)) - memory_of(products_of(moves))

    # About 1.64 / sqrt(60 d), but for estimates below 0, which count as 0.
    assert 0 < above(400) < above(5) < 0.25
    straight = products_of(turning(40, at=20, noise=0.0))
    assert memory_limit(straight) == memory_of(straight) == 0.0


def test_a_turn_is_not_taken_for_memory():
    assert memory_of(products_of(turning(40, at=20, noise=1.0))) < 0.2
    assert memory_of(products_of(turning(40, at=20, noise=0.0))) == 0.0


def test_the_interval_covers_the_turn_of_a_noisy_path():
    covered = 0
    for seed in range(40):
        moves = turning(40, at=20, noise=3.0, seed=seed)
        found = find_change_point(products_of(moves), rng=rng(seed), n_draws=199)
        covered += found.ci_low <= 20 <= found.ci_high
    assert covered >= 36  # of 40 at 95%: 38 expected


def test_a_move_of_no_length_stays_without_direction():
    units = unit_products(products_of(np.array([[2.0, 0], [0, 0], [0, 3.0]])))
    assert np.diag(units).tolist() == [1, 0, 1]


@pytest.mark.parametrize(("n", "min_moves"), [(9, 5), (20, 1)])
def test_a_path_that_is_too_short_is_refused(n, min_moves):
    with pytest.raises(ValueError, match="more checkpoints or a smaller min_moves"):
        find_change_point(np.eye(n), rng=rng(), min_moves=min_moves)
