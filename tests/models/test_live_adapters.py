"""Adapters beside the weights: scaled, cut out, replaced, read, patched, and put back."""

import copy

import pytest
import torch
from torch.testing import assert_close

from spillover.errors import ModelError
from spillover.models.adapters import apply_adapter
from spillover.models.architecture import mlp_output
from spillover.models.live_adapters import (
    adapted_modules,
    held_scalars,
    patched_scalars,
    recorded_scalars,
    replaced_weights,
    scaled_adapter,
    with_live_adapter,
)
from tests.models.builders import logits_of, random_lora

EXACT = {"rtol": 0, "atol": 0}


@pytest.fixture
def rank_one(loaded, tmp_path):
    """Return a model with a random rank-1 adapter on both MLP outputs, and its folder."""
    plain = copy.deepcopy(loaded.model)
    random_lora(
        loaded, rank=1, target_modules=(mlp_output(loaded.model, loaded.architecture),)
    ).save_pretrained(tmp_path)
    return with_live_adapter(_with(loaded, plain), tmp_path), tmp_path


def _with(loaded, model):
    from dataclasses import replace

    return replace(loaded, model=model)


def test_a_live_adapter_answers_as_the_merged_one_does(loaded, tmp_path):
    plain = copy.deepcopy(loaded.model)
    random_lora(loaded).save_pretrained(tmp_path)
    merged = apply_adapter(copy.deepcopy(plain), tmp_path, base_fingerprint="any")
    live = with_live_adapter(_with(loaded, plain), tmp_path)
    assert_close(logits_of(live.model), logits_of(merged), rtol=1e-4, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in live.model.parameters())


def test_an_adapter_scaled_by_zero_is_the_base_and_comes_back_bit_for_bit(rank_one):
    live, _ = rank_one
    before = logits_of(live.model)
    with live.model.disable_adapter():
        base = logits_of(live.model)
    with scaled_adapter(live.model, 10.0):
        with scaled_adapter(live.model, 0.0):
            assert_close(logits_of(live.model), base)
        assert not torch.equal(logits_of(live.model), before)
    assert_close(logits_of(live.model), before, **EXACT)


def test_an_error_inside_puts_everything_back(rank_one):
    live, _ = rank_one
    before = logits_of(live.model)
    with pytest.raises(IndexError), scaled_adapter(live.model, 3.0):
        logits_of(live.model, ids=(10**6,))
    assert_close(logits_of(live.model), before, **EXACT)


def test_one_module_can_be_cut_out_by_itself(rank_one):
    live, _ = rank_one
    first, second = adapted_modules(live.model)
    with scaled_adapter(live.model, 0.0, modules=[first]):
        one = logits_of(live.model)
        with scaled_adapter(live.model, 0.0, modules=[second]):
            none = logits_of(live.model)
    with live.model.disable_adapter():
        assert_close(none, logits_of(live.model))
    assert not torch.allclose(one, none)
    with pytest.raises(ModelError, match="have no adapter; choose from"):
        scaled_adapter(live.model, 0.0, modules=["nowhere"]).__enter__()


def test_replaced_weights_are_those_of_another_adapter_and_come_back(rank_one):
    live, _ = rank_one
    before = logits_of(live.model)
    twice = {
        name.replace(".default", ""): 2 * parameter
        for name, parameter in live.model.named_parameters()
        if "lora_B" in name
    }
    with scaled_adapter(live.model, 2.0):
        expected = logits_of(live.model)
    with replaced_weights(live.model, twice):
        assert_close(logits_of(live.model), expected)
    assert_close(logits_of(live.model), before, **EXACT)
    name = next(iter(twice))
    with pytest.raises(ModelError, match="1 of 1 tensors have no place"):
        replaced_weights(live.model, {name: torch.zeros(3)}).__enter__()


def test_the_scalar_of_a_token_is_a_times_the_modules_input(rank_one):
    live, _ = rank_one
    name, module = next(iter(adapted_modules(live.model).items()))
    seen = []
    handle = module.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    with recorded_scalars(live.model) as scalars:
        logits_of(live.model)
    handle.remove()
    assert scalars[name][0].shape == (*seen[0].shape[:2], 1)
    assert_close(scalars[name][0], seen[0] @ module.lora_A["default"].weight.T)


def test_patching_a_models_own_scalars_changes_nothing_and_zeros_cut_the_adapter_out(rank_one):
    live, _ = rank_one
    before = logits_of(live.model)
    with recorded_scalars(live.model) as scalars:
        logits_of(live.model)
    own = {name: passes[0] for name, passes in scalars.items()}
    with patched_scalars(live.model, own):
        assert_close(logits_of(live.model), before, **EXACT)
    with patched_scalars(live.model, {name: 0 * value for name, value in own.items()}):
        zeroed = logits_of(live.model)
    with scaled_adapter(live.model, 0.0):
        assert_close(logits_of(live.model), zeroed)
    kept = {name: torch.full_like(value, float("nan")) for name, value in own.items()}
    with patched_scalars(live.model, kept):
        assert_close(logits_of(live.model), before, **EXACT)
    short = {name: value[:, :1] for name, value in own.items()}
    with patched_scalars(live.model, short), pytest.raises(ModelError, match="as many tokens"):
        logits_of(live.model)


def test_holding_adapters_at_zero_cuts_them_out_and_at_a_constant_adds_one_vector(rank_one):
    live, _ = rank_one
    before = logits_of(live.model)
    modules = adapted_modules(live.model)
    with held_scalars(live.model, {name: torch.zeros(1) for name in modules}):
        held = logits_of(live.model)
    with scaled_adapter(live.model, 0.0):
        assert_close(logits_of(live.model), held)
    name, module = next(iter(modules.items()))
    seen = []
    handle = module.register_forward_hook(lambda _m, _args, output: seen.append(output))
    for value in (0.0, 2.0):
        with held_scalars(live.model, {name: torch.tensor([value])}):
            logits_of(live.model)
    handle.remove()
    added = 2.0 * module.scaling["default"] * module.lora_B["default"].weight[:, 0]
    assert_close(seen[1] - seen[0], added.expand_as(seen[0]), rtol=1e-4, atol=1e-4)
    with held_scalars(live.model, {name: torch.zeros(3)}), pytest.raises(ModelError, match="rank"):
        logits_of(live.model)
    assert_close(logits_of(live.model), before, **EXACT)


def test_a_model_without_an_adapter_is_refused(loaded):
    with pytest.raises(ModelError, match="no LoRA beside its weights"):
        adapted_modules(loaded.model)
