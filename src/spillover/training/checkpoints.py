"""Measuring a model along its training with a function that is passed in, and keeping the best.

Knows neither what is measured nor what is best: rows go to the training's metrics, and the weights
of the step that the caller chooses are kept in `best`.
"""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from spillover.errors import ConfigError
from spillover.files import read_journal
from spillover.models.modes import evaluating
from spillover.training.callbacks import MetricsFile

BEST = "best"
"Folder, within a training's, of the checkpoint that is kept."
KIND = "checkpoint"
"Kind of the rows."
METRICS = "metrics.jsonl"

MetricsRow = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    """How a model is measured along its training."""

    measure: Callable[[Any], Sequence[MetricsRow]]
    "Measures the model as it is; rows with metric, concept, value and so on."
    choose: Callable[[Sequence[MetricsRow]], int | None]
    "Given all rows so far, each with its step, returns the step to keep; None for none of them."
    every: float = 10
    """Steps between measurements, a fraction of one too where they are an epoch's; the start and
    the last step are always measured."""

    def is_due(self, step: int) -> bool:
        """Return whether a multiple of `every` was reached with this step.

        Example:
            >>> settings = CheckpointSettings(measure=list, choose=len, every=2.5)
            >>> [step for step in range(1, 11) if settings.is_due(step)]
            [3, 5, 8, 10]
        """
        # To nine digits: 3 steps are to count as 30 times 0.1 of one.
        now, before = (math.floor(round(n / self.every, 9)) for n in (step, step - 1))
        return now > before


class CheckpointMeasurer(TrainerCallback):
    """Measures every few steps, hands rows on, and saves the model where it is the best so far.

    Args:
        settings: What to measure, and which step is best.
        folder: The training's; its metrics get the rows, and `best` the weights.
        tokenizer: Saved beside a whole model; None for an adapter.

    Raises:
        ValueError: If `every` is below 1.
    """

    def __init__(
        self, settings: CheckpointSettings, *, folder: Path, tokenizer: Any | None = None
    ) -> None:
        if settings.every < 1:
            raise ValueError(f"checkpoints: every {settings.every} steps; give at least 1")
        self._settings = settings
        self._folder = folder
        self._tokenizer = tokenizer
        self._metrics = MetricsFile(folder / METRICS)
        self._rows: list[MetricsRow] = []

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Measure before the first step; where training resumes, take up what was measured.

        Raises:
            ConfigError: If several processes train.
        """
        if args.world_size > 1:
            raise ConfigError(
                f"{args.world_size} processes train one model, but checkpoints are measured by one "
                "only; leave `select` out, or train in one process"
            )
        if state.global_step == 0:
            self._measure(kwargs["model"], args, step=0)
        else:
            self._rows = checkpoint_rows(self._folder / METRICS)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Measure every few steps and after the last."""
        if self._settings.is_due(state.global_step) or state.global_step == state.max_steps:
            self._measure(kwargs["model"], args, step=state.global_step)

    def _measure(self, model: Any, args: TrainingArguments, *, step: int) -> None:
        precision = torch.float16 if args.fp16 else torch.bfloat16
        # `generate` does not go through the forward pass that the Trainer has put autocast around.
        autocast = torch.autocast(args.device.type, precision, enabled=args.bf16 or args.fp16)
        with evaluating(model), torch.no_grad(), autocast:
            rows = self._settings.measure(model)
        for row in rows:
            self._rows.append({"kind": KIND, "step": step, **row})
            self._metrics.append(self._rows[-1])
        # A kill here costs nothing: training goes on from before this step and measures it again.
        if step > 0 and self._settings.choose(self._rows) == step:
            self._keep(model)

    def _keep(self, model: Any) -> None:
        best = self._folder / BEST
        if best.exists():
            shutil.rmtree(best)
        model.save_pretrained(best)
        if self._tokenizer is not None:
            self._tokenizer.save_pretrained(best)


def checkpoint_rows(metrics: Path) -> list[MetricsRow]:
    """Return what was measured along a training, from its metrics."""
    return [row for row in read_journal(metrics) if row["kind"] == KIND]
