"""Bits a token, and how far they move."""

import math

import numpy as np
import pytest

from spillover.analysis.compression import bits_per_token, change_ratio, compression_change


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_uniform_coder_needs_the_logarithm_of_its_alphabet():
    assert bits_per_token(np.full(5, -3 * math.log(8)), np.full(5, 3.0)) == pytest.approx(3)
    with pytest.raises(ValueError, match="no response tokens"):
        bits_per_token(np.zeros(1), np.zeros(1))


def test_a_compression_change_is_that_of_the_rates_of_all_tokens():
    before, tokens = np.array([-2.0, -12.0]), np.array([2.0, 4.0])
    found = compression_change(before, before - math.log(2) * tokens, tokens, rng=rng())
    assert found.before == pytest.approx(14 / 6 / math.log(2))
    # One bit a token more for every response, so every resample says so.
    assert found.change.value == pytest.approx(1)
    assert found.change.ci_low == pytest.approx(1)
    assert found.change.ci_high == pytest.approx(1)


def test_the_ratio_of_changes_stands_beside_the_ratio_of_sizes():
    def change(bits, seed=0, noise=0.01):
        tokens = np.full(60, 10.0)
        moved = -math.log(2) * tokens * (bits + rng(seed).normal(size=60) * noise)
        return compression_change(np.zeros(60), moved, tokens, rng=rng())

    sizes = {"pretraining_tokens": 1e6, "alignment_tokens": 5e4}
    found = change_ratio(change(-0.02), change(0.4, seed=1), **sizes)
    assert found.measured == pytest.approx(20, rel=0.2)  # - 0.4 / - 0.02
    assert found.ci_low < 20 < found.ci_high
    assert found.predicted == 20
    # What may be 0 is no denominator.
    assert change_ratio(change(0.0), change(0.4), **sizes).measured is None
    with pytest.raises(ValueError, match="positive sizes"):
        change_ratio(change(0.1), change(0.1), pretraining_tokens=0, alignment_tokens=1)
