"""How to train, and the same in the words of `transformers.Trainer`."""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import TrainingArguments

from spillover.models.loading import LoadedModel
from spillover.records import Record


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Record):
    """How to train; what to train on is the schedule's and the objective's."""

    steps: int
    "Optimizer steps."
    units_per_step: int
    "Units of the schedule in one step; the batch size in forget examples."
    learning_rate: float
    scheduler: str = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    accumulation: int = 1
    "Backward passes a step; times the processes, it must divide `units_per_step`."
    checkpoint_every: int = 10
    "Steps between checkpoints to resume from."
    checkpoint_activations: bool = False
    "Keep only each layer's input and compute the rest again: a third more time, far less memory."
    max_uses: int = 50
    "How often one retain example may come; beyond it, it would only be learnt by heart."
    seed: int = 0


def trainer_arguments(
    folder: Path,
    settings: TrainingSettings,
    loaded: LoadedModel,
    *,
    n_processes: int,
    report_to: str,
) -> TrainingArguments:
    """Return the Trainer's arguments for these settings in each of some processes."""
    dtype = next(loaded.model.parameters()).dtype
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.units_per_step
        // (settings.accumulation * n_processes),
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        use_cpu=loaded.device.type == "cpu",
        activation_checkpointing=settings.checkpoint_activations,
        activation_checkpointing_kwargs={"use_reentrant": False},
        seed=settings.seed,
        save_steps=settings.checkpoint_every,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=report_to,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    # One process trains on one GPU, also where it sees several: DataParallel would copy the model.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments
