"""Giving back what two concepts share."""

import numpy as np
import pytest
import torch

from spillover.analysis.shared_components import (
    ComponentEffects,
    EditedReadouts,
    ablating_edits,
    component_effects,
    restoring_edits,
    shared_component,
)


def test_two_vectors_at_60_degrees_are_split_at_30():
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 3**0.5 / 2])
    found = shared_component(a, b)
    assert found.cosine == pytest.approx(0.5)
    for unit in found.units.values():
        assert float(unit.norm()) == pytest.approx(1.0)
    assert float(found.units["shared"] @ a) == pytest.approx(3**0.5 / 2)
    assert float(found.units["shared"] @ b) == pytest.approx(3**0.5 / 2)
    assert float(found.units["target_only"] @ b) == pytest.approx(0.0, abs=1e-6)
    assert float(found.units["concept_only"] @ a) == pytest.approx(0.0, abs=1e-6)


def test_the_shared_line_does_not_depend_on_the_vectors_signs_or_lengths():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 16, generator=generator)
    one = shared_component(a, b).units["shared"]
    other = shared_component(-3 * a, b).units["shared"]
    assert abs(float(one @ other)) == pytest.approx(1.0, abs=1e-6)


def test_vectors_on_one_line_share_everything_and_are_refused():
    with pytest.raises(ValueError, match=r"cosine -1\.000; a shared component is between two"):
        shared_component(torch.tensor([1.0, 2.0]), torch.tensor([-2.0, -4.0]))
    with pytest.raises(ValueError, match="not 0"):
        shared_component(torch.zeros(2), torch.tensor([1.0, 0.0]))


def test_a_restored_state_has_the_aligned_component_and_keeps_the_rest():
    unit = torch.tensor([0.6, 0.8])
    tuned, aligned = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 5.0]])
    restored = tuned + restoring_edits(tuned, aligned, unit)
    assert float(restored[0] @ unit) == pytest.approx(float(aligned[0] @ unit))
    across = torch.tensor([-0.8, 0.6])
    assert float(restored[0] @ across) == pytest.approx(float(tuned[0] @ across))


def test_an_ablated_state_has_nothing_along_the_direction():
    unit = torch.tensor([0.6, 0.8])
    states = torch.tensor([[1.0, 2.0], [-3.0, 0.5]])
    torch.testing.assert_close((states + ablating_edits(states, unit)) @ unit, torch.zeros(2))


def made(*, fall, control=0.0, n=50, seed=0):
    rng = np.random.default_rng(seed)
    aligned = rng.normal(3.0, 1.0, size=n)
    erosion = rng.normal(2.0, 0.5, size=n)
    return EditedReadouts(
        target_concept="safety",
        concept="bias",
        layer=7,
        cosine=0.4,
        aligned=aligned,
        tuned=aligned - erosion,
        edited={"shared": erosion * (1 - fall), "all": np.zeros(n)},
        control=erosion - control * rng.normal(size=(99, 1)),
    )


def test_a_planted_share_of_erosion_is_read_back_and_beats_random_changes():
    shared, whole = component_effects(made(fall=0.3, control=0.01), rng=np.random.default_rng(0))
    assert shared.share.value == pytest.approx(0.3)
    assert whole.share.value == pytest.approx(1.0)
    assert shared.p == pytest.approx(1 / 100)
    assert shared.erosion.ci_low < 2 < shared.erosion.ci_high
    effects = ComponentEffects(level=0.95, rows=(shared, whole))
    assert list(effects.to_frame()["component"]) == ["shared", "all"]
    assert len(effects.plot().axes) == 1


def test_a_component_that_does_what_random_changes_do_has_a_uniform_p_value():
    p = []
    for seed in range(200):
        fall = np.random.default_rng(500 + seed).normal() / 2
        found = made(fall=0.0, control=0.5, seed=seed)
        edited = {"shared": found.aligned - found.tuned - fall}
        again = EditedReadouts(**{**vars(found), "edited": edited})
        rng = np.random.default_rng(0)
        p.append(component_effects(again, rng=rng, n_resamples=2)[0].p)
    assert np.mean(np.array(p) <= 0.25) == pytest.approx(0.25, abs=0.1)
    assert np.mean(p) == pytest.approx(0.5, abs=0.07)
