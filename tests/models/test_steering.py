"""Steering and ablation: what is edited, and that nothing is left of it afterwards."""

import copy

import pytest
import torch
from torch.testing import assert_close

from spillover.models import pad_batch, record_activations, response_logprobs
from spillover.models.directions import Direction
from spillover.models.steering import ablate_directions, add_direction, clamp_direction
from tests.models.builders import EXAMPLES, logits_of, random_lora

SITES = ("resid_pre", "resid_post", "attn_out", "mlp_out")


def direction(loaded, *, seed=0, layer=1, site="resid_post", length=3.0, name="d"):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(loaded.architecture.d_model, generator=generator)
    return Direction(
        name=name,
        layer=layer,
        site=site,
        vector=length * drawn / drawn.norm(),
        activation_norm=2.0,
    )


def added(loaded, d, **settings):
    return add_direction(loaded.model, loaded.architecture, d, **settings)


def ablated(loaded, d, **settings):
    return ablate_directions(loaded.model, loaded.architecture, d, **settings)


def states(loaded, layer, *, site="resid_post", ids=(5, 6, 7, 8)):
    with record_activations(loaded.model, loaded.architecture, sites=[site]) as found:
        logits_of(loaded.model, ids)
    return found[site, layer][0]


@pytest.mark.parametrize("site", SITES)
def test_the_vector_is_added_at_its_own_layer_and_site(loaded, site):
    d = direction(loaded, layer=0, site=site)
    before = states(loaded, 0, site=site)
    with added(loaded, d, strength=2.0):
        # Recorded inside, so after the edit.
        assert_close(states(loaded, 0, site=site), before + 2 * d.vector)


def test_a_strength_in_activation_norms_does_not_depend_on_the_vector_s_length(tiny):
    for length in (0.1, 7.0):
        d = direction(tiny, length=length)
        before = states(tiny, 1)
        with added(tiny, d, strength=1.5, units="activation_norm"):
            assert_close(states(tiny, 1), before + 3.0 * d.unit)  # 1.5 x 2


def test_a_direction_can_be_added_at_other_layers(tiny):
    d = direction(tiny, layer=1)
    before = states(tiny, 0)
    with added(tiny, d, layers=[0]):
        assert_close(states(tiny, 0), before + d.vector)


def test_adding_v_and_then_minus_v_restores_the_logits(loaded):
    d, before = direction(loaded), logits_of(loaded.model)
    with added(loaded, d, strength=4.0):
        steered = logits_of(loaded.model)
        with added(loaded, d, strength=-4.0):
            assert_close(logits_of(loaded.model), before, atol=2e-5, rtol=0)
        # Leaving the inner context leaves the outer one in place, bit by bit.
        assert torch.equal(logits_of(loaded.model), steered)
    assert (steered - before).abs().max() > 1e-2
    assert torch.equal(logits_of(loaded.model), before)


def test_ablation_leaves_nothing_along_the_direction_anywhere(tiny):
    d = direction(tiny)
    with ablated(tiny, d):
        for layer in (0, 1):
            left = states(tiny, layer) @ d.unit
            assert_close(left, torch.zeros(4), atol=1e-5, rtol=0)


def test_ablating_twice_is_ablating_once(loaded):
    d = direction(loaded)
    with ablated(loaded, d):
        once = logits_of(loaded.model)
        with ablated(loaded, d):
            assert_close(logits_of(loaded.model), once, atol=2e-5, rtol=0)
    assert (once - logits_of(loaded.model)).abs().max() > 1e-3


def test_the_sign_and_length_of_a_direction_do_not_matter_to_ablation(tiny):
    d = direction(tiny)
    with ablated(tiny, d):
        expected = logits_of(tiny.model)
    with ablated(tiny, d.with_vector(-5 * d.vector, name="other")):
        assert_close(logits_of(tiny.model), expected, atol=1e-5, rtol=0)


def test_a_subspace_is_ablated_as_a_whole(tiny):
    one, two = direction(tiny, seed=1), direction(tiny, seed=2)
    with ablated(tiny, [one, two]):
        for d in (one, two):
            assert_close(states(tiny, 1) @ d.unit, torch.zeros(4), atol=1e-5, rtol=0)


def test_layer_wise_ablation_takes_each_direction_out_at_its_own_layer(tiny):
    zero, one = direction(tiny, seed=1, layer=0), direction(tiny, seed=2, layer=1)
    with ablated(tiny, [zero, one], layerwise=True):
        assert_close(states(tiny, 0) @ zero.unit, torch.zeros(4), atol=1e-5, rtol=0)
        assert_close(states(tiny, 1) @ one.unit, torch.zeros(4), atol=1e-5, rtol=0)
        assert (states(tiny, 0) @ one.unit).abs().max() > 1e-3


def test_dependent_directions_are_refused(tiny):
    d = direction(tiny)
    with (
        pytest.raises(ValueError, match="2 directions span fewer dimensions"),
        ablated(tiny, [d, d.with_vector(2 * d.vector, name="twice")]),
    ):
        pass


def test_a_clamped_projection_stays_between_its_limits(tiny):
    d = direction(tiny)
    plain = states(tiny, 1) @ d.unit
    with clamp_direction(tiny.model, tiny.architecture, d, low=-0.1, high=0.05):
        # In activation norms of 2.0.
        assert_close(states(tiny, 1) @ d.unit, plain.clamp(-0.2, 0.1), atol=1e-5, rtol=0)
    with clamp_direction(tiny.model, tiny.architecture, d, low=1, high=1, units="vector"):
        assert_close(states(tiny, 1) @ d.unit, torch.full((4,), 3.0), atol=1e-5, rtol=0)


def test_limits_the_wrong_way_round_are_refused(tiny):
    with (
        pytest.raises(ValueError, match=r"low is 1.* and high 0"),
        clamp_direction(tiny.model, tiny.architecture, direction(tiny), low=1.0, high=0.0),
    ):
        pass


def test_an_exception_inside_leaves_the_model_as_it_was(loaded):
    d, before = direction(loaded), logits_of(loaded.model)
    with pytest.raises(KeyError), added(loaded, d), ablated(loaded, direction(loaded, seed=3)):
        raise KeyError
    assert torch.equal(logits_of(loaded.model), before)


def test_a_layer_that_does_not_exist_leaves_nothing_behind(tiny):
    before = logits_of(tiny.model)
    with (
        pytest.raises(Exception, match="layer 9 does not exist"),
        added(tiny, direction(tiny), layers=[0, 9]),
    ):
        pass
    assert torch.equal(logits_of(tiny.model), before)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_is_steered_like_its_rows(loaded, side):
    d, other = direction(loaded), direction(loaded, seed=4)

    def logprobs(examples):
        batch = pad_batch(examples, pad_id=loaded.pad_id, padding_side=side)
        with torch.no_grad(), added(loaded, d, strength=2.0), ablated(loaded, other):
            return response_logprobs(loaded.model, batch).total

    alone = torch.cat([logprobs([example]) for example in EXAMPLES])
    assert_close(logprobs(EXAMPLES), alone, atol=5e-5, rtol=0)


def test_only_masked_tokens_are_edited_and_other_passes_are_refused(tiny):
    d = direction(tiny, layer=0)
    mask = torch.tensor([[False, False, True, False]])
    before = states(tiny, 0)
    with added(tiny, d, mask=mask):
        moved = states(tiny, 0) - before
        assert_close(moved[2], d.vector, atol=1e-6, rtol=0)
        assert torch.equal(moved[[0, 1, 3]], torch.zeros(3, 32))
        with pytest.raises(ValueError, match=r"a pass over \(1, 2\) tokens under a mask"):
            logits_of(tiny.model, (5, 6))


@pytest.mark.parametrize("use_cache", [True, False])
def test_generation_with_a_cache_is_steered_as_without(tiny, use_cache):
    d = direction(tiny, length=8.0)
    ids = torch.tensor([[5, 6, 7]])
    with added(tiny, d), ablated(tiny, direction(tiny, seed=5)):
        output = tiny.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=6,
            do_sample=False,
            use_cache=use_cache,
            eos_token_id=None,
        )[0].tolist()
        rolled = [5, 6, 7]
        for _ in range(6):
            rolled.append(int(logits_of(tiny.model, rolled)[0, -1].argmax()))
    assert output == rolled


def test_gradients_flow_through_a_steered_model(tiny):
    model = random_lora(tiny, rank=2)
    d = direction(tiny)
    batch = pad_batch(EXAMPLES, pad_id=tiny.pad_id)
    grads = []
    for steer in (True, False):
        model.zero_grad()
        inside = copy.copy(d) if steer else d.with_vector(1e-9 * d.vector, name="none")
        with add_direction(model, tiny.architecture, inside, strength=3.0):
            (-response_logprobs(model, batch).total.mean()).backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad]))
    assert grads[0].abs().sum() > 0
    assert (grads[0] - grads[1]).abs().max() > 1e-4  # The step is that of the steered model.


def test_no_directions_are_refused(tiny):
    with pytest.raises(ValueError, match="no directions"), added(tiny, []):
        pass
