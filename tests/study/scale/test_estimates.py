"""Estimates against what a real training holds and what is worked out by hand."""

from collections import Counter

import pytest
import torch

from spillover.errors import ConfigError
from spillover.models.adapters import add_lora
from spillover.models.batches import pad_batch
from spillover.models.logprobs import response_logprobs
from spillover.study.scale.estimates import (
    GENERATED,
    LAYER_SECONDS,
    TRAINED,
    Placement,
    _collected,
    activation_bytes,
    estimate_study,
    generation_estimate,
    training_bytes,
    training_seconds,
)
from spillover.study.scale.hardware import GIB, Hardware, told_hardware
from spillover.study.scale.model_shapes import SIZES, ModelShape, model_shape, sized_shape
from spillover.study.scale.plans import training_choices, usable_devices
from spillover.study.scale.training_works import TrainingWork
from spillover.study.stages.datasets import study_prompts
from spillover.testing import tiny_model

SHAPE = ModelShape(n_parameters=1000.0, n_layers=2, d_model=10, d_mlp=20, d_kv=5, vocab=100)
WORK = TrainingWork(
    n_steps=3,
    units=4,
    examples=4,
    reference_examples=8,
    tokens=10.0,
    response_tokens=5.0,
    rank=2,
    trained_layers=2,
)
DEVICE = Hardware(name="x", n_devices=1, memory_gib=1.0, flops=1e6, bandwidth=1e6)


def test_the_parameters_of_a_lora_are_those_that_peft_makes(tmp_path):
    loaded = tiny_model(tmp_path)
    shape = model_shape(str(tmp_path))
    assert shape.n_parameters == sum(p.numel() for p in loaded.model.parameters())
    policy = add_lora(loaded.model, loaded.architecture, rank=3)
    trained = sum(p.numel() for p in policy.parameters() if p.requires_grad)
    assert shape.n_adapter(3) == trained


def test_a_training_holds_sixteen_bytes_a_trained_parameter(tmp_path):
    loaded = tiny_model(tmp_path)
    policy = add_lora(loaded.model, loaded.architecture, rank=3)
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    for parameter in trained:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moments = [t for state in optimizer.state.values() for t in state.values() if t.ndim > 0]
    held = sum(t.nbytes for t in [*trained, *(p.grad for p in trained), *moments])
    assert held == 16 * model_shape(str(tmp_path)).n_adapter(3)


def test_activations_are_those_that_autograd_keeps(tmp_path):
    loaded = tiny_model(tmp_path)
    policy = add_lora(loaded.model.bfloat16(), loaded.architecture, rank=1).train()
    own = {p.untyped_storage().data_ptr() for p in policy.parameters()}
    examples = [loaded.chat.exchange_ids("how " * 60, "no") for _ in range(4)]
    batch = pad_batch(examples, pad_id=loaded.pad_id, padding_side="right")
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = (storage, storage.nbytes())
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16),
    ):
        response_logprobs(policy, batch)
    measured = sum(size for pointer, (_, size) in kept.items() if pointer not in own)
    estimate = activation_bytes(model_shape(str(tmp_path)), batch.input_ids.numel())
    # Rank 1 and masks, small beside a real model's layers, are not counted.
    assert 0.7 < estimate / measured < 1.15


def test_memory_by_hand():
    # 4 examples of 10 tokens; adapters 2 * (40 + 30 + 90) * 2 layers = 640 parameters.
    activations = 40 * (240 + 160 + 20) * 2
    logits = 20 * 100 * 10
    assert SHAPE.n_adapter(2) == 640
    expected = 1000 * 2 + 16 * 640 + activations + logits
    assert training_bytes(SHAPE, WORK, Placement()) == expected
    two = Placement(n_shards=2)
    assert training_bytes(SHAPE, WORK, two) == (2000 + 16 * 640) / 2 + (activations + logits) / 2
    small = training_bytes(SHAPE, WORK, Placement(checkpoint_activations=True))
    assert small == 2000 + 16 * 640 + 40 * 2 * 10 * 2 + activations / 2 + logits
    assert activation_bytes(SHAPE, 40) == activations


def test_time_by_hand():
    # A token's matrices: 2 * (200 + 100 + 600) = 1800; the head 10 * 100, for half of the tokens.
    forward = 2 * (1800 + 500)
    operations = (3 * 4 * 2 * forward + 8 * forward) * 10
    started = 3 * 3 * 2 * LAYER_SECONDS
    found = training_seconds(SHAPE, WORK, Placement(), DEVICE)
    assert found == pytest.approx(operations / (1e6 * TRAINED) + started)


def test_answers_take_the_longer_of_reading_weights_and_computing():
    options = {"n_prompts": 3, "prompt_tokens": 0.0, "new_tokens": 7, "dtype": "bfloat16"}
    read = generation_estimate("a", SHAPE, DEVICE, batch_size=1, **options)
    computing = 2 * (1800 + 1000) / (1e6 * TRAINED)
    reading = 2000 / (1e6 * GENERATED)
    assert read.seconds == pytest.approx(3 * 7 * max(computing, reading))


def test_more_devices_than_units_do_not_help():
    assert usable_devices([WORK], 64) == 4
    assert usable_devices([WORK], 3) == 2


def test_a_study_is_estimated_stage_by_stage_and_two_seeds_count_twice(small_study):
    shape = sized_shape("7B")
    hardware = told_hardware(n_gpus=1, memory_gib=None)
    one = estimate_study(small_study(), shape, hardware, placement=Placement())
    two = estimate_study(small_study(seeds=[0, 1]), shape, hardware, placement=Placement())
    names = [row.name for row in one]
    assert names[:5] == ["unlearn", "contain", "collect", "answers", "capability"]
    assert two[0].seconds == pytest.approx(2 * one[0].seconds)
    assert one[0].gib > 7.62e9 * 2 / GIB
    quantised = estimate_study(
        small_study("unlearn.quantise=true", "contain.checkpoint_activations=true"),
        shape,
        hardware,
        placement=Placement(),
    )
    assert quantised[0].gib < one[0].gib / 2
    assert quantised[0].seconds == one[0].seconds
    assert quantised[1].gib < one[1].gib
    assert quantised[1].seconds > one[1].seconds


def test_collecting_asks_all_of_the_targets_prompts_and_some_of_the_others(small_study):
    train = study_prompts(small_study().prompts)["train"]
    assert len(_collected(small_study(), train)) == len(train) == 5 * 16
    kept = _collected(small_study("collect.retain_limit=3"), train)
    assert Counter(prompt.concept for prompt in kept) == {
        "disinformation": 3,
        "safety": 16,
        "privacy": 3,
        "benign_plain": 3,
        "benign_lookalike": 3,
    }


def test_seventy_billion_parameters_fit_on_one_gpu_only_quantised(small_study):
    hardware = told_hardware(n_gpus=1, memory_gib=80)
    choices = training_choices(small_study(), SIZES["70B"], hardware)
    assert {choice.name for choice in choices if choice.fits} == {
        "one device, nf4",
        "one device, nf4, checkpoint_activations",
    }


def test_hardware_and_sizes_that_do_not_exist_are_refused():
    with pytest.raises(ConfigError, match="gpu 'H1000' is not known; choose one of H200, H100"):
        told_hardware(n_gpus=1, memory_gib=80, gpu="H1000")
    with pytest.raises(ConfigError, match="0 GPUs of 80 GiB; give at least one"):
        told_hardware(n_gpus=0, memory_gib=80)
    with pytest.raises(ConfigError, match="'8B' is not known; choose one of 7B, 32B, 70B"):
        sized_shape("8B")
