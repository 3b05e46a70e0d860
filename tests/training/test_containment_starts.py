"""What penalties are given before there is a trainer: the frozen start, and where to go on."""

import numpy as np
import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from spillover.errors import ModelError
from spillover.models.adapters import add_lora
from spillover.training.containment_penalties import RetainBatches
from spillover.training.containment_starts import FrozenStart, ResumedBatches
from tests.training.examples import PEFT_WARNING, RETAIN

pytestmark = pytest.mark.filterwarnings(PEFT_WARNING)
CPU = torch.device("cpu")


def batches(loaded):
    tokens = [loaded.chat.example_ids(e) for own in RETAIN.values() for e in own]
    return RetainBatches(tokens, pad_id=loaded.pad_id, batch_size=3, rng=np.random.default_rng(0))


def begin(callback, folder, *, step=0, **options):
    """Tell a callback that training begins."""
    state = TrainerState()
    state.global_step = step
    arguments = TrainingArguments(output_dir=str(folder), report_to="none", use_cpu=True)
    callback.on_train_begin(arguments, state, TrainerControl(), **options)


def test_the_frozen_start_is_the_model_without_what_was_trained(fresh, tmp_path):
    loaded = fresh()
    ids = torch.tensor([[5, 6, 7]])
    before = loaded.model(ids).logits.detach()
    policy = add_lora(loaded.model, loaded.architecture, rank=2)
    frozen = FrozenStart()
    begin(frozen, tmp_path, model=policy)
    with torch.no_grad():
        for name, weight in policy.named_parameters():
            if "lora_B" in name:
                weight.add_(0.5)
    assert not torch.allclose(policy(ids).logits, before)
    with frozen() as opened:
        found = opened(ids).logits
    assert torch.equal(found, before)
    assert not found.requires_grad


def test_without_an_adapter_there_is_no_frozen_start(fresh, tmp_path):
    with pytest.raises(ModelError, match="adapter_off needs a LoRA"):
        begin(FrozenStart(), tmp_path, model=fresh().model)


def test_a_resumed_training_goes_on_with_the_batch_that_would_have_come(tiny, tmp_path):
    whole, resumed = batches(tiny), batches(tiny)
    seen = [whole.next(CPU).input_ids for _ in range(5)]
    begin(ResumedBatches(resumed), tmp_path, step=3)
    assert torch.equal(resumed.next(CPU).input_ids, seen[3])
    assert torch.equal(resumed.next(CPU).input_ids, seen[4])
