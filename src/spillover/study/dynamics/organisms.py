"""Fine-tunes a model on responses and keeps what is trained every few steps.

OUT/dense/          dense checkpoints, for phase changes
OUT/metrics.jsonl   losses and gradient norms
OUT/adapter_model.safetensors, or a whole model
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spillover.data.prompt_sets import load_examples
from spillover.models.adapters import name_base
from spillover.models.loading import load_model
from spillover.seeding import derive_seed, numpy_generator
from spillover.training import TrainingSettings, make_objective, train
from spillover.training.batching import supervised_schedule
from spillover.training.dense_checkpoints import DenseCheckpoints
from spillover.training.organisms import organism_adapter


def train_densely(
    model: str,
    data: Path,
    out: Path,
    *,
    load_options: Mapping[str, Any],
    adapter: str | None = "one_slow_adapter",
    steps: int = 200,
    every: int = 5,
    examples_per_step: int = 8,
    learning_rate: float = 1e-4,
    scheduler: str = "constant",
    seed: int = 0,
) -> Path:
    """Train by cross-entropy on responses; return the folder of dense checkpoints.

    Args:
        model: What `load_model` takes.
        data: JSONL of prompt and response.
        out: Gets the result; a run that was stopped goes on where it was.
        load_options: More arguments of `load_model`.
        adapter: A key of `training.organisms.ORGANISMS`; None trains all weights.
        steps: Optimizer steps; examples are gone through again and again.
        every: Steps between dense checkpoints.
        examples_per_step: Batch size.
        learning_rate: 1e-5 for 14B parameters in 2506.11613.
        scheduler: One of the Trainer's.
        seed: Of order and adapter.

    Raises:
        InputError: If the model, the data or the adapter cannot be used.
    """
    examples = load_examples(data)
    loaded = load_model(model, **load_options)
    train(
        loaded,
        supervised_schedule(
            examples, n_units=steps * examples_per_step, rng=numpy_generator(seed, "order")
        ),
        objective=make_objective("sft"),
        folder=out,
        settings=TrainingSettings(
            steps=steps,
            units_per_step=examples_per_step,
            learning_rate=learning_rate,
            scheduler=scheduler,
            checkpoint_every=max(every, 20),
            seed=derive_seed(seed, "adapter"),
        ),
        lora=None if adapter is None else organism_adapter(adapter, loaded),
        callbacks=[DenseCheckpoints(out / "dense", every=every)],
    )
    if adapter is not None:
        for folder in (out, out / "dense"):
            name_base(folder, model, base_fingerprint=loaded.weights_fingerprint)
    return out / "dense"
