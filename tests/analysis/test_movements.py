"""How far states moved along a direction, against directions of matched covariance."""

import numpy as np
import pytest
import torch

from spillover.analysis.movements import movement, movement_by_layer
from spillover.models.directions import Direction

WIDTH = 16


def direction(i=0, *, length=2.0, layer=3):
    return Direction(
        name="misalignment",
        layer=layer,
        site="resid_post",
        vector=length * torch.eye(WIDTH)[i],
    )


def moved(shift, *, n=60, noise=0.5, seed=0, scale=None):
    """States before, and after a shift with noise."""
    generator = torch.Generator().manual_seed(seed)
    before = torch.randn(n, WIDTH, generator=generator)
    if scale is not None:
        before = before * scale
    return before, before + shift + noise * torch.randn(n, WIDTH, generator=generator)


def measure(before, after, d=None, **settings):
    return movement(
        before,
        after,
        d or direction(),
        rng=np.random.default_rng(0),
        generator=torch.Generator().manual_seed(0),
        **settings,
    )


def test_a_shift_along_the_direction_is_found_with_its_length():
    found = measure(*moved(3.0 * torch.eye(WIDTH)[0], noise=0.1))
    assert found.cosine.ci_low > 0.95
    assert found.distance.value == pytest.approx(1.5, abs=0.05)  # 3 in lengths of 2.
    assert found.distance.ci_low < 1.5 < found.distance.ci_high
    assert found.p < 0.02
    assert found.null_high < found.cosine.ci_low


def test_the_way_back_is_negative():
    found = measure(*moved(-3.0 * torch.eye(WIDTH)[0], noise=0.1))
    assert found.cosine.ci_high < -0.95
    assert found.distance.value == pytest.approx(-1.5, abs=0.05)


def test_a_shift_elsewhere_is_within_the_null():
    found = measure(*moved(3.0 * torch.eye(WIDTH)[5], noise=0.1))
    assert abs(found.cosine.value) < 0.05
    assert found.p > 0.5
    assert found.length == pytest.approx(1.5, abs=0.05)


def test_where_states_vary_most_a_shift_proves_little():
    # States vary along axis 0 nearly only, and so does any change of the model.
    scale = torch.full((WIDTH,), 0.05)
    scale[0] = 5.0
    found = measure(*moved(3.0 * torch.eye(WIDTH)[0], noise=0.01, scale=scale))
    assert found.cosine.value > 0.99
    assert found.null_high > 0.99
    assert found.p > 0.3


def test_each_direction_is_read_at_its_own_layer():
    one, other = moved(torch.eye(WIDTH)[0]), moved(torch.eye(WIDTH)[1], seed=1)
    found = movement_by_layer(
        torch.stack([one[0], other[0]]),
        torch.stack([one[1], other[1]]),
        [direction(0, layer=3), direction(1, layer=7), direction(1, layer=9)],
        layers=[3, 7],
        rng=np.random.default_rng(0),
        generator=torch.Generator().manual_seed(0),
    )
    assert [m.layer for m in found] == [3, 7]
    assert all(m.cosine.ci_low > 0.8 for m in found)


def test_other_examples_or_no_change_are_refused():
    before, after = moved(torch.eye(WIDTH)[0])
    with pytest.raises(ValueError, match="give the same examples"):
        measure(before, after[:-1])
    with pytest.raises(ValueError, match="the states did not move"):
        measure(before, before)
