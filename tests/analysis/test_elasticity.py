"""Resistance and rebound: worked by hand, planted, and refused."""

import numpy as np
import pytest

from spillover.analysis.elasticity import (
    ReboundCurve,
    ResistanceCell,
    Retraining,
    rebound,
    rebound_growth,
    resistance,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def cell(seed, early, late, *, forward, inverse, entropies=(0.0, 0.0), kl=(0.2, 0.1)):
    return ResistanceCell(
        seed=seed,
        early=early,
        late=late,
        forward=Retraining(loss=forward, entropy=entropies[0], kl=kl[0]),
        inverse=Retraining(loss=inverse, entropy=entropies[1], kl=kl[1]),
    )


def test_the_papers_numbers_give_its_differences():
    # Alpaca, Llama2-7B: 2->1 against 1->2, and so on; the same twice, as for two seeds.
    numbers = {(1, 2): (0.202, 0.159), (2, 3): (0.214, 0.195), (1, 3): (0.235, 0.167)}
    cells = [
        cell(seed, *pair, forward=forward + 0.001 * seed, inverse=inverse)
        for seed in (0, 1)
        for pair, (forward, inverse) in numbers.items()
    ]
    found = resistance(cells)
    # (0.043 + 0.019 + 0.068) / 3, and 0.0005 for the second seed
    assert found.raw.delta == pytest.approx(0.13 / 3 + 0.0005)
    assert (found.n_positive, found.n_cells) == (6, 6)
    assert found.moved.delta == pytest.approx(0.1)


def test_a_difference_that_the_targets_entropies_explain_is_taken_off():
    # Late models say things that are harder to predict: forward looks worse, and is not.
    cells = [
        cell(s, 1, 2, forward=1.0 + 0.01 * s, inverse=0.6, entropies=(0.8, 0.4)) for s in range(3)
    ]
    found = resistance(cells)
    assert found.raw.delta == pytest.approx(0.41)
    assert found.raw.ci_low > 0
    assert found.corrected.delta == pytest.approx(0.01)
    assert found.corrected.ci_low < 0


def test_runs_that_do_not_pair_up_are_refused():
    with pytest.raises(ValueError, match="at least two seeds"):
        resistance([cell(0, 1, 2, forward=1, inverse=1)])
    with pytest.raises(ValueError, match="2 different sets"):
        resistance([cell(0, 1, 2, forward=1, inverse=1), cell(1, 1, 3, forward=1, inverse=1)])


def curve(n_positive, *, seed=0, knee=300, start=0.2):
    """A score that falls to 0.1 at the knee and stays; a distance that falls to 0 at twice it."""
    n = np.arange(0, 1001, 50)
    score = np.where(n < knee, 0.9 - 0.8 * n / knee, 0.1)
    distance = start * np.clip(1 - n / (2 * knee), 0, None)
    noise = rng(seed).normal(size=(2, len(n))) * 0.002
    return ReboundCurve(
        seed=seed,
        n_positive=n_positive,
        n_negative=tuple(n.tolist()),
        score=tuple((score + noise[0]).tolist()),
        distance=tuple(distance.tolist()),
    )


def test_a_planted_fall_and_plateau_are_found():
    found = rebound(curve(1000), rng=rng())
    assert found.knee.knee == pytest.approx(300, abs=15)
    assert found.knee.slope_before == pytest.approx(-0.8 / 300, rel=0.05)
    assert found.knee.slope_after == pytest.approx(0, abs=1e-4)
    assert found.knee.p < 0.01
    # 0.2 (1 - n / 600) = 0.01 at n = 570
    assert found.examples_to_threshold == pytest.approx(570)
    assert (found.start_distance, found.lowest_distance) == (0.2, 0)


def test_a_model_that_never_comes_back_has_no_examples_to_threshold():
    assert rebound(curve(1000, knee=2000)).examples_to_threshold is None


def test_more_positive_examples_that_rebound_faster_are_seen_over_seeds():
    rebounds = [
        rebound(curve(n, seed=seed, knee=knee + 5 * seed * (n > 1000)))
        for seed in range(3)
        for n, knee in ((1000, 400), (5000, 300), (10000, 200))
    ]
    found = rebound_growth(rebounds)
    assert (found.few, found.many) == (1000, 10000)
    assert found.initial_slope.delta == pytest.approx(0.8 / 205 - 0.8 / 400, rel=0.1)
    assert found.initial_slope.ci_low > 0
    # All fall from 0.9 to 0.1 in the end, however fast.
    assert [r.fall for r in rebounds] == pytest.approx([0.8] * 9, abs=0.01)
    assert found.fall.delta == pytest.approx(0, abs=0.01)
    # The distance is below 0.01 at 1.9 knees: 390 (mean knee 205) against 760.
    assert found.examples_to_threshold.delta == pytest.approx(1.9 * (205 - 400), rel=0.01)
    never = rebound(curve(10000, seed=0, knee=2000))
    partly = [never if (r.seed, r.n_positive) == (0, 10000) else r for r in rebounds]
    assert rebound_growth(partly).examples_to_threshold is None
    with pytest.raises(ValueError, match="give two of each at least"):
        rebound_growth(rebounds[:3])
