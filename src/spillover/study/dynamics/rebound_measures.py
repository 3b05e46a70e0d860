"""What is measured on the way back: score, distance and compression at every dense checkpoint.

Settings and data of a study of rebound, and the numbers of one of its runs. Trains nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spillover.analysis.compression import (
    ChangeRatio,
    CompressionChange,
    change_ratio,
    compression_change,
)
from spillover.analysis.token_distances import TokenDistributions, kl_from
from spillover.models.live_adapters import replaced_weights
from spillover.models.loading import LoadedModel
from spillover.records import Example, Record
from spillover.seeding import numpy_generator
from spillover.study.dynamics.elasticity_data import SETS, Opposites
from spillover.study.dynamics.retraining import FineTuning, Likelihoods, likelihoods
from spillover.study.progress import Reporter
from spillover.training.dense_checkpoints import dense_files, read_checkpoint_tensors


@dataclass(frozen=True, kw_only=True)
class ReboundSettings(Record):
    """The trainings of a study of rebound."""

    seeds: tuple[int, ...] = (0, 1, 2)
    n_positive: tuple[int, ...] = (64, 256)
    "Numbers of positive examples; 1000 to 10000 in the paper."
    n_negative: int = 256
    "Negative examples, of which every curve goes through as many."
    every: int = 4
    "Optimizer steps between measurements."
    n_held_out: int = 48
    "Prompts with answers of both kinds on which score and distance are measured."
    n_proxy: int = 32
    "The start's own answers to benign prompts, which stand for what it was pre-trained on."
    max_new_tokens: int = 24
    threshold: float = 0.01
    "KL to the start, nats a token."
    pretraining_tokens: float | None = None
    "Size of the pre-training data; None compares no ratio."
    batch_size: int = 16
    how: FineTuning = field(default_factory=FineTuning)


@dataclass(frozen=True)
class ReboundCase:
    """What all curves share."""

    model: str
    load_options: Mapping[str, Any]
    out: Path
    settings: ReboundSettings
    train: Opposites
    held_out: Opposites
    proxy: tuple[Example, ...]
    start: TokenDistributions
    reporter: Reporter


def measured_run(
    case: ReboundCase, loaded: LoadedModel, dense: Path, seed: int, n_positive: int
) -> dict[str, Any]:
    """Measure a model with a live adapter at every dense checkpoint of it."""
    rows, readings = [], []
    for step, path in dense_files(dense).items():
        with replaced_weights(loaded.model, read_checkpoint_tensors(path)):
            own = _readings(case, loaded)
            distance = float(np.mean(kl_from(case.start, loaded.model)))
        readings.append(own)
        rows.append(
            {
                "seed": seed,
                "n_positive": n_positive,
                "n_negative": step * case.settings.how.examples_per_step,
                "score": _margin(own),
                "distance": distance,
                **{f"bits_{name}": own[name].loss / np.log(2) for name in SETS},
            }
        )
    ratio = _ratio(case, readings, n_positive, seed)
    return {"rows": rows, "ratio": None if ratio is None else ratio.to_dict()}


def _readings(case: ReboundCase, loaded: LoadedModel) -> dict[str, Likelihoods]:
    examples = (case.held_out.positive, case.held_out.negative, case.proxy)
    return {
        name: likelihoods(loaded, chosen, batch_size=case.settings.batch_size)
        for name, chosen in zip(SETS, examples, strict=True)
    }


def _margin(readings: Mapping[str, Likelihoods]) -> float:
    """Mean over prompts of positive less negative log-probability, nats a token."""
    sides = [readings[name].logprobs / readings[name].n_tokens for name in ("positive", "negative")]
    return float(np.mean(sides[0] - sides[1]))


def _ratio(
    case: ReboundCase, readings: Sequence[Mapping[str, Likelihoods]], n_positive: int, seed: int
) -> ChangeRatio | None:
    """Compare the first changes, as the theory is of a small perturbation."""
    if case.settings.pretraining_tokens is None:
        return None
    before, after = readings[0], readings[1]

    def change(name: str) -> CompressionChange:
        return compression_change(
            before[name].logprobs,
            after[name].logprobs,
            before[name].n_tokens,
            rng=numpy_generator(seed, "compression", name),
        )

    positive = readings[0]["positive"].n_tokens
    return change_ratio(
        change("proxy"),
        change("positive"),
        pretraining_tokens=case.settings.pretraining_tokens,
        alignment_tokens=float(positive.mean()) * n_positive,
    )
