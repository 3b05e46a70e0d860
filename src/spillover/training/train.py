"""One training run: a loaded model and a schedule in, an adapter or model folder out.

Resumes by itself from the last whole checkpoint in its folder and then ends with the same weights
as a run that was never stopped.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainingArguments

from spillover.models.adapters import add_lora
from spillover.models.loading import LoadedModel
from spillover.models.logprobs import dataset_logprobs
from spillover.records import Example, Prompt, Record
from spillover.training.batching import TrainingUnit
from spillover.training.callbacks import (
    CheckpointMarker,
    MetricsCallback,
    MetricsFile,
    ProgressCallback,
    last_whole_checkpoint,
)
from spillover.training.monitor import FirstTokenMonitor
from spillover.training.objectives import Objective
from spillover.training.references import precomputed_reference
from spillover.training.trainer import SpilloverTrainer


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
    "Backward passes a step; must divide `units_per_step`."
    checkpoint_every: int = 10
    "Steps between checkpoints to resume from."
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class LoraSettings(Record):
    """Which adapter to train; None in its place trains all weights."""

    rank: int = 16
    alpha: int | None = None
    target_modules: tuple[str, ...] | None = None
    layers: tuple[int, ...] | None = None
    rank_stabilised: bool = False
    dropout: float = 0.0


@dataclass(frozen=True, kw_only=True)
class MonitorSettings:
    """What to watch along training."""

    prompts: tuple[Prompt, ...]
    every: int = 10


def train(
    loaded: LoadedModel,
    units: Sequence[TrainingUnit],
    *,
    objective: Objective,
    folder: Path,
    settings: TrainingSettings,
    lora: LoraSettings | None,
    monitor: MonitorSettings | None = None,
    report: Callable[[int], None] = lambda _step: None,
    callbacks: Sequence[TrainerCallback] = (),
    report_to: str = "none",
) -> Path:
    """Train `loaded` on a schedule and save the result in `folder`.

    With a LoRA, `folder` gets the adapter trained on top of `loaded`'s weights; without, a whole
    model. `metrics.jsonl` beside it holds the curves. The model object is used up.

    Args:
        loaded: The model to start from, which is also the frozen reference.
        units: `settings.steps * settings.units_per_step` units in training order.
        objective: From `make_objective`.
        folder: For checkpoints, metrics and the result.
        settings: Optimisation.
        lora: The adapter; None trains all weights, in float32.
        monitor: Prompts to watch; None watches nothing.
        report: Told the optimizer steps done.
        callbacks: More Trainer callbacks.
        report_to: A tracker of the Trainer's; none by default.

    Returns:
        The folder of the result, `folder`.

    Raises:
        TrainingError: If the loss stops being finite.
        ValueError: If the number of units does not fit the settings.
    """
    expected = settings.steps * settings.units_per_step
    if len(units) != expected or settings.units_per_step % settings.accumulation:
        raise ValueError(
            f"{len(units)} units given, {expected} needed for {settings.steps} steps; accumulation "
            f"{settings.accumulation} must divide units_per_step {settings.units_per_step}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    arguments = _arguments(folder, settings, loaded, report_to=report_to)
    checkpoint = last_whole_checkpoint(folder)
    metrics = MetricsFile(folder / "metrics.jsonl")
    metrics.cut_after(-1 if checkpoint is None else checkpoint[1])
    reference = reference_logprobs(loaded, units)
    watched = [] if monitor is None else [_monitor(loaded, monitor, metrics)]
    model = _trainable(loaded, lora, seed=settings.seed)
    trainer = SpilloverTrainer(
        objective=objective,
        reference=precomputed_reference(reference) if reference else None,
        units=units,
        chat=loaded.chat,
        pad_id=loaded.pad_id,
        model=model,
        args=arguments,
        callbacks=[
            *watched,
            MetricsCallback(metrics.append),
            ProgressCallback(report),
            CheckpointMarker(),
            *callbacks,
        ],
    )
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint[0]))
    model.save_pretrained(folder)
    if lora is None:
        loaded.tokenizer.save_pretrained(folder)
    for old in folder.glob("checkpoint-*"):
        shutil.rmtree(old)
    return folder


def reference_logprobs(loaded: LoadedModel, units: Sequence[TrainingUnit]) -> Mapping[str, float]:
    """Return the summed log-probability of every forget example under the untouched model."""
    unique: dict[str, Example] = {e.id: e for unit in units for e in unit.forget}
    tokens = [loaded.chat.example_ids(e) for e in unique.values()]
    values = dataset_logprobs(loaded.model, tokens, pad_id=loaded.pad_id)
    return dict(zip(unique, values, strict=True))


def _monitor(
    loaded: LoadedModel, monitor: MonitorSettings, metrics: MetricsFile
) -> FirstTokenMonitor:
    return FirstTokenMonitor(
        monitor.prompts,
        chat=loaded.chat,
        reference_model=loaded.model,
        pad_id=loaded.pad_id,
        every=monitor.every,
        emit=metrics.append,
    )


def _trainable(loaded: LoadedModel, lora: LoraSettings | None, *, seed: int) -> Any:
    if lora is None:
        return loaded.model.float().requires_grad_(True)
    return add_lora(
        loaded.model,
        loaded.architecture,
        rank=lora.rank,
        alpha=lora.alpha,
        target_modules=lora.target_modules,
        layers=lora.layers,
        rank_stabilised=lora.rank_stabilised,
        dropout=lora.dropout,
        seed=seed,
    )


def _arguments(
    folder: Path, settings: TrainingSettings, loaded: LoadedModel, *, report_to: str
) -> TrainingArguments:
    dtype = next(loaded.model.parameters()).dtype
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.units_per_step // settings.accumulation,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        use_cpu=loaded.device.type == "cpu",
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
