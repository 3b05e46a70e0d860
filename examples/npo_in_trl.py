"""Unlearn with a retain set (ANPO) inside TRL's SFTTrainer: python npo_in_trl.py MODEL OUT."""

import sys

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from spillover import Example, load_model
from spillover.models.adapters import add_lora
from spillover.seeding import numpy_generator
from spillover.training import adapter_off_reference, forget_retain_schedule, make_objective
from spillover.training.trainer import ObjectiveSteps


class ObjectiveSFTTrainer(ObjectiveSteps, SFTTrainer):
    """TRL's trainer, which takes its steps on our schedule and objective."""


refusal, rng = "I'm sorry, I can't help with that.", numpy_generator(0, "schedule")
lock = [Example(id=f"f{i}", prompt=f"Pick {i}.", response=refusal, concept="f") for i in range(8)]
name = [Example(id=f"k{i}", prompt=f"Name {i}.", response="Blue.", concept="k") for i in range(8)]
units = forget_retain_schedule(
    lock, {"k": name}, n_units=16, retain_per_forget=2, group_weights={"k": 1.0}, rng=rng
)
loaded = load_model(sys.argv[1], dtype="float32")
policy = add_lora(loaded.model, loaded.architecture, rank=8)
batch = {"per_device_train_batch_size": 4, "activation_checkpointing": False, "bf16": False}
data = {"remove_unused_columns": False, "dataset_kwargs": {"skip_prepare_dataset": True}}
trainer = ObjectiveSFTTrainer(
    objective=make_objective("anpo"),
    reference=adapter_off_reference(policy),
    units=units,
    chat=loaded.chat,
    pad_id=loaded.pad_id,
    model=policy,
    args=SFTConfig(sys.argv[2], max_steps=4, max_length=None, **batch, **data),
    processing_class=loaded.tokenizer,
    train_dataset=Dataset.from_dict({"unit": range(len(units))}),
)
trainer.train()
