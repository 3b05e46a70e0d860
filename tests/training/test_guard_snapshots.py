"""Snapshots: what is put back, what is not, and from which files."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from spillover.errors import TrainingError
from spillover.training.guard_snapshots import read_checkpoint, restore_snapshot, take_snapshot
from tests.training.examples import PEFT_WARNING
from tests.training.guarding import trained_weights

pytestmark = pytest.mark.filterwarnings(PEFT_WARNING)

IDS = torch.tensor([[5, 6, 7, 8]])


def with_lora(loaded):
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    return get_peft_model(loaded.model, config)


def adam(model, rate=1e-2):
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)


def steps(model, optimizer, n):
    for _ in range(n):
        optimizer.zero_grad()
        model(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()


def same(left, right):
    return all(torch.equal(left[name], right[name]) for name in left)


def test_going_on_from_a_restored_snapshot_repeats_the_steps_bit_for_bit(fresh):
    model = with_lora(fresh())
    optimizer = adam(model)
    steps(model, optimizer, 2)
    snapshot = take_snapshot(model, optimizer, step=2)
    steps(model, optimizer, 3)
    first = trained_weights(model)
    for _ in range(2):  # A second time from the same snapshot: it was not changed by its use.
        restore_snapshot(snapshot, model, optimizer)
        steps(model, optimizer, 3)
        assert same(first, trained_weights(model))


def test_a_snapshot_of_the_start_empties_the_optimizer(fresh):
    model = with_lora(fresh())
    optimizer = adam(model)
    snapshot = take_snapshot(model, optimizer, step=0)
    before = trained_weights(model)
    steps(model, optimizer, 2)
    restore_snapshot(snapshot, model, optimizer)
    assert same(before, trained_weights(model))
    assert optimizer.state_dict()["state"] == {}
    assert all(p.grad is None for p in model.parameters())


def test_only_trained_weights_are_copied_and_the_learning_rate_stays(fresh):
    model = with_lora(fresh())
    optimizer = adam(model, rate=0.5)
    snapshot = take_snapshot(model, optimizer, step=0)
    assert all(".lora_" in name for name in snapshot.weights)
    optimizer.param_groups[0]["lr"] = 0.25
    restore_snapshot(snapshot, model, optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_weights_frozen_on_the_way_are_an_error(fresh):
    model = with_lora(fresh())
    optimizer = adam(model)
    snapshot = take_snapshot(model, optimizer, step=3)
    next(p for p in model.parameters() if p.requires_grad).requires_grad_(False)
    with pytest.raises(TrainingError, match=r"1 weights are trained either now or at step 3"):
        restore_snapshot(snapshot, model, optimizer)


def checkpoint(folder, model, optimizer):
    model.save_pretrained(folder)
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    return folder


def test_a_checkpoint_of_an_adapter_is_read_as_the_snapshot_would_be(fresh, tmp_path):
    model = with_lora(fresh())
    optimizer = adam(model)
    steps(model, optimizer, 2)
    expected = take_snapshot(model, optimizer, step=7)
    found = read_checkpoint(checkpoint(tmp_path / "checkpoint-7", model, optimizer), model)
    assert found.step == 7
    assert found.weights.keys() == expected.weights.keys()
    assert same(expected.weights, found.weights)
    assert torch.equal(found.optimizer[0]["exp_avg"], expected.optimizer[0]["exp_avg"])


def test_a_checkpoint_that_lacks_a_trained_weight_is_an_error(fresh, tmp_path):
    model = with_lora(fresh())
    optimizer = adam(model)
    folder = checkpoint(tmp_path / "checkpoint-1", model, optimizer)
    model.get_base_model().get_input_embeddings().weight.requires_grad_(True)
    with pytest.raises(TrainingError, match=r"does not hold 1 of 9 trained weights.*'memory'"):
        read_checkpoint(folder, model)
