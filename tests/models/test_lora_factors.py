"""A LoRA's folder as factors: their product is what the adapter adds to a module."""

import pytest
import torch
from torch.testing import assert_close

from spillover.errors import ModelError
from spillover.models.adapters import concatenate_adapters
from spillover.models.lora_factors import (
    LoraFactors,
    later_factors,
    lora_factors,
    plain_lora_config,
    save_factors,
    zero_factors,
)
from tests.models.builders import random_lora
from tests.models.test_steering_vectors import save, steered


@pytest.mark.parametrize("stabilised", [False, True])
def test_b_times_a_is_what_the_adapter_adds(tiny, tmp_path, stabilised):
    wrapped = random_lora(
        tiny, rank=4, alpha=6, target_modules=["o_proj"], rank_stabilised=stabilised
    )
    save(wrapped, tmp_path)
    found = lora_factors(tmp_path, plain_lora_config(tmp_path))
    assert len(found) == 2
    module = wrapped.get_base_model().model.layers[1].self_attn.o_proj
    a, b, bias = found["base_model.model.model.layers.1.self_attn.o_proj"]
    assert_close(b @ a, module.get_delta_weight("default").detach())
    assert_close(bias, torch.zeros(32))


def test_a_steering_vector_has_a_bias_and_nothing_else(tiny, tmp_path):
    wrapped = steered(tiny, layer=0, alpha=3.0)
    save(wrapped, tmp_path)
    ((a, b, bias),) = lora_factors(tmp_path, plain_lora_config(tmp_path)).values()
    assert not (b @ a).any()
    trained = next(p for p in wrapped.parameters() if p.requires_grad).detach()
    assert_close(bias, 3.0 * trained)


def test_zero_factors_have_the_module_s_shape_and_add_nothing(tiny, tmp_path):
    save(random_lora(tiny, rank=4, target_modules=["down_proj"]), tmp_path)
    like = next(iter(lora_factors(tmp_path, plain_lora_config(tmp_path)).values()))
    zero = zero_factors(like, 7)
    assert (zero.a.shape, zero.b.shape, zero.bias.shape) == ((7, 64), (32, 7), (32,))
    assert not any(part.any() for part in zero)


def test_what_was_joined_comes_apart_again_and_is_written_whole(tiny, tmp_path):
    folders = [tmp_path / name for name in ("first", "second")]
    for seed, folder in enumerate(folders):
        save(random_lora(tiny, rank=3 + seed, seed=seed, target_modules=["o_proj"]), folder)
    concatenate_adapters(*folders, tmp_path / "joined")
    config = plain_lora_config(tmp_path / "joined")
    later = later_factors(lora_factors(tmp_path / "joined", config), 3)
    save_factors(tmp_path / "again", later, config)
    found = lora_factors(tmp_path / "again", plain_lora_config(tmp_path / "again"))
    second = lora_factors(folders[1], plain_lora_config(folders[1]))
    assert found.keys() == second.keys()
    for name, part in second.items():
        assert part.a.shape == found[name].a.shape == (4, 32)
        assert_close(found[name].b @ found[name].a, part.b @ part.a)


def test_factors_with_a_bias_and_no_factors_are_not_written(tmp_path):
    biased = LoraFactors(torch.ones(1, 2), torch.ones(2, 1), torch.ones(2))
    for factors in ({}, {"module": biased}):
        with pytest.raises(ModelError, match="give LoRA factors without biases, at least one"):
            save_factors(tmp_path, factors, {})
