"""What the guard costs: the same fine-tune with and without it, at its defaults.

    python benchmarks/guard.py [--model embedded] [--steps 40] [--batch 8] [--tokens 160]

Prints the time of a training step and of a measurement, how often the guard measured, the share of
the training's own time that it took by its own count, and the ratio of the two trainings' times
from outside. `--cpu-time` counts this process's CPU time instead, for shared machines.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainingArguments

from spillover.models import LoadedModel, load_model
from spillover.models.adapters import add_lora
from spillover.seeding import numpy_generator
from spillover.training.guard import AlignmentGuard
from spillover.training.guard_thresholds import GuardThresholds


def main() -> None:
    """Train twice and compare."""
    asked = _arguments()
    clock = time.process_time if asked.cpu_time else time.perf_counter
    loaded = load_model(asked.model, dtype=asked.dtype, device=asked.device)
    _train(loaded, asked, clock=clock, guard=None, steps=1)  # Warms up.
    plain = _train(loaded, asked, clock=clock, guard=None, steps=asked.steps)
    guard = AlignmentGuard(thresholds=GuardThresholds(), chat=loaded.chat, table=False, clock=clock)
    guarded = _train(loaded, asked, clock=clock, guard=guard, steps=asked.steps)
    n = len(guard.signals)
    measuring = guard.overhead / (1 + guard.overhead) * guarded
    print(f"device                    {loaded.device}, {torch.get_num_threads()} threads")
    print(f"a training step           {plain / asked.steps:8.3f} s")
    # At the start the reference is asked, which is one measurement.
    print(f"a measurement             {measuring / n:8.3f} s, {n} of them in {asked.steps} steps")
    print(f"overhead, its own count   {guard.overhead:8.1%}")
    print(f"overhead, from outside    {guarded / plain - 1:8.1%}  (both trainings timed once)")


def _train(
    loaded: LoadedModel,
    asked: argparse.Namespace,
    *,
    clock: Callable[[], float],
    guard: AlignmentGuard | None,
    steps: int,
) -> float:
    policy = add_lora(loaded.model, loaded.architecture, rank=16, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=policy,
            args=_training(Path(folder), asked, steps=steps, loaded=loaded),
            train_dataset=_rows(loaded, asked, n=steps * asked.batch),
            callbacks=[] if guard is None else [guard],
        )
        trainer.remove_callback(PrinterCallback)
        start = clock()
        trainer.train()
        seconds = clock() - start
    policy.unload()
    return seconds


def _rows(loaded: LoadedModel, asked: argparse.Namespace, *, n: int) -> list[dict[str, list[int]]]:
    rng = numpy_generator(0, "benchmark")
    ids = rng.integers(100, len(loaded.tokenizer), size=(n, asked.tokens)).tolist()
    return [{"input_ids": row, "labels": row, "attention_mask": [1] * len(row)} for row in ids]


def _training(
    folder: Path, asked: argparse.Namespace, *, steps: int, loaded: LoadedModel
) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=asked.batch,
        learning_rate=1e-4,
        use_cpu=loaded.device.type == "cpu",
        bf16=asked.dtype == "bfloat16",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--cpu-time", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
