"""How far states moved: by hand, planted, under no change, and in other units."""

import numpy as np
import pytest
import torch

from spillover.analysis.erosion import SetProjections, erosion_by_layer
from spillover.analysis.state_changes import prompt_projections, state_changes


def states(n, *, seed, layers=2, width=16):
    return torch.randn(layers, n, width, generator=torch.Generator().manual_seed(seed))


def rng():
    return np.random.default_rng(0)


def test_one_shift_for_all_prompts_is_its_length_over_the_states_length():
    before = torch.zeros(1, 4, 2)
    before[0, :, 0] = 2.0  # Each state has length 2.
    after = before.clone()
    after[0, :, 1] += 1.0  # Each moves by 1.
    (row,) = state_changes(before, after, before, before, rng=rng())
    assert row.change.value == pytest.approx(0.5)
    assert (row.change.ci_low, row.change.ci_high) == (pytest.approx(0.5), pytest.approx(0.5))
    assert (row.control.value, row.contrast.value) == (0.0, pytest.approx(0.5))


def test_a_planted_shift_is_found_at_its_layer_only():
    before, noise = states(40, seed=0), states(40, seed=1)
    after = before + 0.3 * noise
    after[1, :, 0] += 2.0
    control = states(40, seed=2)
    first, second = state_changes(
        before, after, control, control + 0.3 * states(40, seed=3), rng=rng()
    )
    assert second.change.ci_low > second.null
    assert second.contrast.ci_low > 0
    assert first.contrast.ci_low < 0 < first.contrast.ci_high


def test_noise_of_another_kind_for_every_prompt_stays_under_the_null():
    inside = 0
    for seed in range(40):
        before = states(30, seed=10 * seed, layers=1)
        after = before + 0.3 * states(30, seed=10 * seed + 1, layers=1)
        (row,) = state_changes(before, after, before, after, rng=rng(), n_resamples=200)
        inside += row.change.value <= row.null
    assert inside >= 34  # 95% of 40 are 38; 33 or fewer have a chance of 2 in 1000.


def test_a_model_compared_with_itself_did_not_move():
    same = states(10, seed=0)
    for row in state_changes(same, same, same, same, rng=rng()):
        assert (row.change.value, row.null, row.contrast.value) == (0.0, 0.0, 0.0)


def test_the_unit_of_the_states_does_not_matter():
    before, after = states(12, seed=0), states(12, seed=1)
    one = state_changes(before, after, before, after, rng=rng())
    other = state_changes(7 * before, 7 * after, 7 * before, 7 * after, rng=rng())
    assert [row.change.value for row in one] == pytest.approx([r.change.value for r in other])


def test_states_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="give the same prompts"):
        state_changes(
            states(4, seed=0), states(5, seed=0), states(4, seed=0), states(4, seed=0), rng=rng()
        )


def test_half_of_the_way_back_to_base_is_an_erosion_of_one_half():
    base = states(20, seed=0)
    direction = torch.zeros(2, 16)
    direction[:, 0] = 3.0
    aligned, tuned = base + direction[:, None], base + direction[:, None] / 2
    sides = {"base": base, "aligned": aligned, "tuned": tuned}
    projected = {name: prompt_projections(own, direction) for name, own in sides.items()}
    curve = erosion_by_layer(SetProjections(name="harmful", **projected), rng=rng())
    assert [row.fraction.value for row in curve.layers] == pytest.approx([0.5, 0.5])
    assert [row.gap.value for row in curve.layers] == pytest.approx([3.0, 3.0])
