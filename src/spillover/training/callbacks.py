"""Callbacks that write metrics, stop at broken weights, mark whole checkpoints, report progress.

They know a step's numbers and folders, nothing of losses or data.
"""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from spillover.errors import TrainingError
from spillover.files import append_jsonl, read_journal, write_jsonl, write_text

WHOLE = "whole"
"Name of the file that marks a checkpoint as completely written."

_KEPT = ("loss", "forget_loss", "retain_loss", "learning_rate", "grad_norm")


class MetricsFile:
    """`metrics.jsonl` of one training: appended row by row, cut back when training resumes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, row: dict[str, Any]) -> None:
        """Append one row and flush it."""
        append_jsonl(self._path, [row])

    def cut_after(self, step: int) -> None:
        """Drop the rows of later steps, which will be made again; -1 drops all."""
        if self._path.exists():
            kept = [row for row in read_journal(self._path) if row["step"] <= step]
            write_jsonl(self._path, kept)


class MetricsCallback(TrainerCallback):
    """Writes one row of kind `train` for each logged step."""

    def __init__(self, emit: Callable[[dict[str, Any]], None]) -> None:
        self._emit = emit

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep losses, learning rate and gradient norm; None where one is not finite."""
        if logs and "loss" in logs:
            row = {name: _finite(float(logs[name])) for name in _KEPT if name in logs}
            self._emit({"kind": "train", "step": state.global_step, **row})


def _finite(value: float) -> float | None:
    # With float16 the first gradients overflow as a rule; such steps are skipped.
    return value if math.isfinite(value) else None


class FiniteWeights(TrainerCallback):
    """Stops before weights that are no longer numbers are measured, logged or saved."""

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Check the trained weights.

        Raises:
            TrainingError: If one of them is not finite.
        """
        trained = [p.detach() for p in kwargs["model"].parameters() if p.requires_grad]
        # One norm over all of them, so that a GPU is waited for once.
        if not torch.isfinite(torch.nn.utils.get_total_norm(trained)):
            raise TrainingError(
                f"the weights are not finite after step {state.global_step}; the last checkpoint "
                f"in {args.output_dir} is kept. Lower learning_rate or set max_grad_norm"
            )


class ProgressCallback(TrainerCallback):
    """Tells a callable how many optimizer steps are done."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Report the steps done."""
        self._report(state.global_step)


class CheckpointMarker(TrainerCallback):
    """Marks a checkpoint once it is whole; a kill while it is written leaves it unmarked."""

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Write the mark as the checkpoint's last file."""
        assert args.output_dir is not None
        write_text(checkpoint_folder(Path(args.output_dir), state.global_step) / WHOLE, "")


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Return where the Trainer puts the checkpoint of a step."""
    return folder / f"checkpoint-{step}"


class Checkpoint(NamedTuple):
    """A whole checkpoint and the optimizer steps done in it."""

    folder: Path
    step: int


def last_whole_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the latest whole checkpoint; remove those that were cut short."""
    found = []
    for path in folder.glob("checkpoint-*"):
        if (path / WHOLE).exists():
            found.append(Checkpoint(path, int(path.name.rpartition("-")[2])))
        else:
            shutil.rmtree(path)
    return max(found, key=lambda checkpoint: checkpoint.step, default=None)
