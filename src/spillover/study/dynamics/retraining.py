"""Fine-tuning a model on examples, again and again, and putting models together from adapters.

What the runners of elasticity share. Knows nothing of what is positive or negative.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spillover.generation import GenerationSettings
from spillover.generation.hf import HFGenerator
from spillover.models.loading import LoadedModel, load_model
from spillover.models.logprobs import dataset_logprobs
from spillover.models.merged import with_adapter
from spillover.records import Example, Prompt, Record
from spillover.seeding import derive_seed, numpy_generator
from spillover.training import LoraSettings, TrainingSettings, make_objective, train
from spillover.training.batching import supervised_schedule
from spillover.training.dense_checkpoints import DenseCheckpoints


@dataclass(frozen=True, kw_only=True)
class FineTuning(Record):
    """How every training of a study of elasticity is done: all alike, so that budgets are equal."""

    examples_per_step: int = 8
    learning_rate: float = 5e-4
    rank: int = 16
    alpha: int | None = None
    scheduler: str = "constant"
    max_grad_norm: float = 1.0
    checkpoint_every: int = 50
    "To resume from."


def fine_tune(
    loaded: LoadedModel,
    examples: Sequence[Example],
    folder: Path,
    *,
    steps: int,
    how: FineTuning,
    seed: int,
    dense: Path | None = None,
    every: int = 5,
) -> Path:
    """Train a fresh adapter on responses by cross-entropy; return its folder.

    Done before, it is not done again; the model object is used up all the same.

    Args:
        loaded: Where it starts.
        examples: Gone through in a random order, again and again.
        folder: Gets the adapter.
        steps: Optimizer steps.
        how: Everything else.
        seed: Of the order and of the adapter's start.
        dense: Gets dense checkpoints; None keeps none.
        every: Steps between these.
    """
    if (folder / "adapter_model.safetensors").is_file():
        return folder
    units = supervised_schedule(
        examples, n_units=steps * how.examples_per_step, rng=numpy_generator(seed, "order")
    )
    settings = TrainingSettings(
        steps=steps,
        units_per_step=how.examples_per_step,
        learning_rate=how.learning_rate,
        scheduler=how.scheduler,
        max_grad_norm=how.max_grad_norm,
        checkpoint_every=how.checkpoint_every,
        seed=derive_seed(seed, "adapter"),
    )
    return train(
        loaded,
        units,
        objective=make_objective("sft"),
        folder=folder,
        settings=settings,
        lora=LoraSettings(rank=how.rank, alpha=how.alpha),
        callbacks=[] if dense is None else [DenseCheckpoints(dense, every=every)],
    )


def model_with(
    source: str, adapters: Sequence[Path], load_options: Mapping[str, Any]
) -> LoadedModel:
    """Return a model with adapters merged into it, one after the other."""
    loaded = load_model(source, **load_options)
    for folder in adapters:
        loaded = with_adapter(loaded, folder)
    return loaded


def answers_of(
    loaded: LoadedModel,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    seed: int,
    batch_size: int,
) -> list[Example]:
    """Let a model answer prompts at temperature 1; empty answers are left out."""
    settings = GenerationSettings(
        max_new_tokens=max_new_tokens, temperature=1.0, seed=seed, batch_size=batch_size
    )
    completions = HFGenerator(loaded, "answers").generate(prompts, settings=settings)
    return [
        Example(
            id=c.id,
            prompt=c.prompt,
            response=c.response,
            concept=c.concept,
            is_whole=c.finish_reason == "stop",
        )
        for c in completions
        if c.response
    ]


@dataclass(frozen=True)
class Likelihoods:
    """How likely a model finds responses."""

    logprobs: np.ndarray[Any, np.dtype[np.float64]]
    "Summed over each response's tokens, in nats."
    n_tokens: np.ndarray[Any, np.dtype[np.float64]]

    @property
    def loss(self) -> float:
        """Nats a token, all tokens alike."""
        return float(-self.logprobs.sum() / self.n_tokens.sum())


@torch.no_grad()
def likelihoods(
    loaded: LoadedModel, examples: Sequence[Example], *, batch_size: int = 16
) -> Likelihoods:
    """Score responses under a model as it is, a live adapter included."""
    tokens = [loaded.chat.example_ids(example) for example in examples]
    totals = dataset_logprobs(loaded.model, tokens, pad_id=loaded.pad_id, batch_size=batch_size)
    return Likelihoods(
        np.array(totals), np.array([t.response_length for t in tokens], dtype=np.float64)
    )
