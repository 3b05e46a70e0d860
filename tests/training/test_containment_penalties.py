"""Penalties on a tiny model: zero at the reference, right away from it, with real gradients."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from spillover.errors import DataError
from spillover.models.logprobs import dataset_logprobs
from spillover.training.containment_penalties import (
    RetainBatches,
    every_fifth_layer,
    first_token_penalty,
    first_token_reference,
    ldifs_penalty,
    retain_ce_penalty,
    retain_kl_penalty,
)
from spillover.training.references import second_model
from tests.training.examples import RETAIN

EXAMPLES = [example for own in RETAIN.values() for example in own]


def batches(loaded, *, n=8, seed=0):
    tokens = [loaded.chat.example_ids(e) for e in EXAMPLES]
    return RetainBatches(
        tokens, pad_id=loaded.pad_id, batch_size=n, rng=np.random.default_rng(seed)
    )


def disturbed(loaded):
    """Return the model, trainable and away from where it was."""
    model = loaded.model.requires_grad_(True)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))
    return model


def gradient_norm(value, model):
    found = torch.autograd.grad(value, list(model.parameters()), allow_unused=True)
    return torch.stack([g.norm() for g in found if g is not None]).norm().item()


def prompts(loaded):
    return [loaded.chat.prompt_ids(e.prompt) for e in EXAMPLES]


def make(name, loaded, frozen):
    own = batches(loaded)
    if name == "kl":
        return retain_kl_penalty(own, frozen)
    if name == "ldifs":
        return ldifs_penalty(own, frozen, loaded.architecture)
    with frozen() as model:
        reference = first_token_reference(model, prompts(loaded), pad_id=loaded.pad_id)
    return first_token_penalty(
        prompts(loaded), reference, pad_id=loaded.pad_id, rng=np.random.default_rng(0)
    )


def test_retain_ce_is_the_mean_surprise_a_token_by_hand(fresh):
    loaded = fresh()
    tokens = [loaded.chat.example_ids(e) for e in EXAMPLES]
    sums = dataset_logprobs(loaded.model, tokens, pad_id=loaded.pad_id)
    expected = np.mean([-s / t.response_length for s, t in zip(sums, tokens, strict=True)])
    found = retain_ce_penalty(batches(loaded))(loaded.model)
    assert found.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["kl", "ldifs", "first_token"])
def test_distances_and_their_gradients_are_zero_at_the_reference(name, fresh):
    loaded = fresh()
    model = loaded.model.requires_grad_(True)
    value = make(name, loaded, second_model(fresh().model))(model)
    assert value.item() == pytest.approx(0.0, abs=1e-6)
    assert gradient_norm(value, model) < 1e-3


@pytest.mark.parametrize("name", ["kl", "ldifs", "first_token"])
def test_distances_pull_back_to_the_reference_from_elsewhere(name, fresh):
    """Above all LDIFS: features without gradients would make it a constant."""
    loaded = fresh()
    model = disturbed(loaded)
    penalty = make(name, loaded, second_model(fresh().model))
    value = penalty(model)
    assert value.item() > 1e-3
    found = torch.autograd.grad(value, list(model.parameters()), allow_unused=True)
    norm = torch.stack([g.norm() for g in found if g is not None]).norm()
    assert norm > 1e-3
    with torch.no_grad():
        for p, g in zip(model.parameters(), found, strict=True):
            if g is not None:
                p.sub_(1e-3 / norm * g)
    assert penalty(model).item() < value.item()


def test_ldifs_by_hand_where_one_layer_writes_a_constant_more(fresh):
    loaded = fresh()
    layer = loaded.architecture.layer(loaded.model, 1)
    handle = layer.register_forward_hook(
        lambda _m, _a, out: (out[0] + 0.5, *out[1:]) if isinstance(out, tuple) else out + 0.5
    )
    penalty = ldifs_penalty(
        batches(loaded), second_model(fresh().model), loaded.architecture, layers=[0, 1]
    )
    # Layer 0: nothing; layer 1: 32 entries of 0.5^2 = 8; their mean is 4.
    assert penalty(loaded.model).item() == pytest.approx(4.0, abs=1e-4)
    handle.remove()


def test_the_frozen_side_gets_no_gradient(fresh):
    loaded, other = fresh(), fresh().model.requires_grad_(True)
    model = disturbed(loaded)
    for name in ("kl", "ldifs"):
        make(name, loaded, second_model(other))(model).backward()
    assert all(p.grad is None for p in other.parameters())


def test_batches_go_through_all_examples_before_any_comes_again(tiny):
    own = batches(tiny, n=3)
    seen = []
    for _ in range(8):
        batch = own.next(torch.device("cpu"))
        for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True):
            seen.append(tuple(ids[mask.bool()].tolist()))
    assert len(set(seen[:8])) == 8
    assert sorted(seen[:8]) == sorted(seen[8:16]) == sorted(seen[16:24])


def test_every_fifth_layer_as_in_the_paper():
    assert every_fifth_layer(28) == [4, 9, 14, 19, 24]
    assert every_fifth_layer(4) == [3]


def test_first_token_batches_give_the_mean_over_all_prompts_once_each(fresh):
    loaded = fresh()
    model = disturbed(loaded)
    reference = first_token_reference(fresh().model, prompts(loaded), pad_id=loaded.pad_id)
    options = {"pad_id": loaded.pad_id}
    parts = first_token_penalty(
        prompts(loaded), reference, batch_size=4, rng=np.random.default_rng(0), **options
    )
    whole = first_token_penalty(
        prompts(loaded), reference, batch_size=8, rng=np.random.default_rng(0), **options
    )
    with torch.no_grad():
        assert_close((parts(model) + parts(model)) / 2, whole(model), atol=1e-5, rtol=0)


def test_no_examples_are_refused(tiny):
    with pytest.raises(DataError, match="0 retain examples in batches of 8"):
        RetainBatches([], pad_id=0, rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="0 prompts and 1 reference distributions"):
        first_token_penalty([], torch.zeros(1, 4), pad_id=0, rng=np.random.default_rng(0))
