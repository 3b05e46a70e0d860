"""Directions in weights: the same as hooks, and bit by bit undone."""

import copy

import pytest
import torch
from torch.testing import assert_close

from spillover.errors import ModelError
from spillover.models import load_model
from spillover.models.baked_directions import (
    addition_adapter,
    orthogonalised_lora,
    orthogonalised_weights,
)
from spillover.models.lora_biases import quiet_about_biases
from spillover.models.steering import ablate_directions, add_direction
from tests.models.builders import logits_of, random_lora
from tests.models.test_steering import direction

NORMALISES_THE_MLP = {"gemma2", "gemma3_text"}


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_orthogonalised_weights_give_the_logits_of_ablation(loaded):
    d = [direction(loaded, seed=1), direction(loaded, seed=2)]
    with ablate_directions(loaded.model, loaded.architecture, d):
        expected = logits_of(loaded.model)
    before, kept = logits_of(loaded.model), weights(loaded.model)
    with orthogonalised_weights(loaded.model, loaded.architecture, d):
        assert_close(logits_of(loaded.model), expected, atol=2e-4, rtol=1e-3)
    assert (expected - before).abs().max() > 1e-3
    assert torch.equal(logits_of(loaded.model), before)
    for name, value in weights(loaded.model).items():
        assert torch.equal(value, kept[name])


def test_a_tied_output_matrix_is_tied_again(tiny_family):
    loaded = tiny_family("gemma2")
    model = loaded.model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    with orthogonalised_weights(model, loaded.architecture, direction(loaded)):
        assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight
        assert not model.config.tie_word_embeddings
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model.config.tie_word_embeddings


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_a_model_saved_inside_loads_without_the_direction(tiny_family, tmp_path, family):
    loaded = tiny_family(family)
    d = direction(loaded)
    with orthogonalised_weights(loaded.model, loaded.architecture, d):
        expected = logits_of(loaded.model)
        loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    found = load_model(tmp_path, dtype="float32", device="cpu")
    assert_close(logits_of(found.model), expected)


def test_an_exception_inside_puts_the_weights_back(tiny):
    kept = weights(tiny.model)
    with (
        pytest.raises(KeyError),
        orthogonalised_weights(tiny.model, tiny.architecture, direction(tiny)),
    ):
        raise KeyError
    assert all(torch.equal(value, kept[name]) for name, value in weights(tiny.model).items())


def test_a_model_with_an_adapter_loses_the_direction_from_both(tiny):
    wrapped, d = random_lora(tiny, rank=2), direction(tiny)
    with ablate_directions(wrapped, tiny.architecture, d):
        expected = logits_of(wrapped)
    with orthogonalised_weights(wrapped, tiny.architecture, d):
        assert_close(logits_of(wrapped), expected, atol=2e-4, rtol=1e-3)


def test_a_family_whose_outputs_are_scaled_by_dimension_is_refused(tiny_family):
    loaded = copy.deepcopy(tiny_family("gemma2"))
    norm = loaded.model.model.layers[0].post_feedforward_layernorm
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-0.9, 9.0, len(norm.weight)))
    with (
        pytest.raises(ModelError, match="cannot be taken out of its weights"),
        orthogonalised_weights(loaded.model, loaded.architecture, direction(loaded)),
    ):
        pass


def test_b_loses_the_direction_and_keeps_its_norm(tiny):
    wrapped, d = random_lora(tiny, rank=2), direction(tiny)
    writers = ("o_proj.lora_B", "down_proj.lora_B")
    before = weights(wrapped)
    changed = [n for n in before if any(w in n for w in writers)]
    with orthogonalised_lora(wrapped, tiny.architecture, d):
        inside = weights(wrapped)
        for name in changed:
            assert_close(d.unit @ inside[name], torch.zeros(2), atol=1e-6, rtol=0)
            assert_close(inside[name].norm(), before[name].norm())
        assert all(torch.equal(inside[n], before[n]) for n in before if n not in changed)
    with orthogonalised_lora(wrapped, tiny.architecture, d, keep_norm=False):
        name = changed[0]
        plain = before[name] - d.unit[:, None] * (d.unit @ before[name])
        assert_close(weights(wrapped)[name], plain, atol=1e-6, rtol=0)
    assert all(torch.equal(v, before[n]) for n, v in weights(wrapped).items())


def test_an_adapter_that_does_not_write_to_the_stream_is_refused(tiny):
    wrapped = random_lora(tiny, rank=2, target_modules=["q_proj"])
    with (
        pytest.raises(ModelError, match="no LoRA writes to the residual stream"),
        orthogonalised_lora(wrapped, tiny.architecture, direction(tiny)),
    ):
        pass


@pytest.mark.parametrize(("layer", "site"), [(0, "resid_post"), (1, "resid_pre")])
def test_an_addition_adapter_steers_like_the_hook_and_loads(tiny, tmp_path, layer, site):
    d = direction(tiny, layer=layer, site=site)
    with add_direction(tiny.model, tiny.architecture, d, strength=2.0):
        expected = logits_of(tiny.model)
    wrapped = addition_adapter(copy.deepcopy(tiny.model), tiny.architecture, d, strength=2.0)
    assert_close(logits_of(wrapped), expected, atol=1e-4, rtol=0)
    with quiet_about_biases():
        wrapped.save_pretrained(tmp_path)
    found = load_model(tiny.source, adapter=tmp_path, dtype="float32", device="cpu")
    assert_close(logits_of(found.model), expected, atol=1e-4, rtol=0)


def test_a_site_inside_a_layer_is_refused_for_an_adapter(tiny):
    with pytest.raises(ValueError, match="an adapter adds after a layer"):
        addition_adapter(tiny.model, tiny.architecture, direction(tiny, site="attn_out"))
