"""Callbacks that write metrics, stop at broken weights, mark whole checkpoints, report progress.

They know a step's numbers and folders, nothing of losses or data. Of several processes, the first
writes.
"""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from spillover.errors import TrainingError
from spillover.files import append_jsonl, read_journal, write_json, write_jsonl

WHOLE = "whole"
"Name of the file that marks a checkpoint as completely written; holds the sizes of its files."

_KEPT = ("loss", "forget_loss", "retain_loss", "learning_rate", "grad_norm")


class MetricsFile:
    """`metrics.jsonl` of one training: appended row by row, cut back when training resumes.

    Args:
        path: The file.
        is_writer: False in all processes but one, whose rows are the same.
    """

    def __init__(self, path: Path, *, is_writer: bool = True) -> None:
        self._path = path
        self._is_writer = is_writer

    def append(self, row: dict[str, Any]) -> None:
        """Append one row and flush it."""
        if self._is_writer:
            append_jsonl(self._path, [row])

    def cut_after(self, step: int) -> None:
        """Drop the rows of later steps, which will be made again; -1 drops all."""
        if self._is_writer and self._path.exists():
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
        norm: Any = torch.nn.utils.get_total_norm(trained)
        whole = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # Under FSDP2.
        if not torch.isfinite(whole):
            raise TrainingError(
                f"the weights are not finite after step {state.global_step}; "
                f"{kept_checkpoint(args.output_dir)}. Lower learning_rate or set max_grad_norm"
            )


class ExplodedLoss(TrainerCallback):
    """Stops a training whose loss is finite but has left every scale it began on.

    Three steps in a row above `factor` times the first step's loss (and one nat) count: no
    objective here rises so far and comes back. A loss that falls without end, as that of gradient
    ascent is meant to, is left alone.
    """

    patience = 3
    "Steps in a row."

    def __init__(self, *, factor: float = 20.0) -> None:
        self._factor = factor

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Look at the last logged steps, those before a resumption included.

        Raises:
            TrainingError: If all of them are above the limit.
        """
        losses = [float(row["loss"]) for row in state.log_history if "loss" in row]
        recent = losses[-self.patience :]
        if len(losses) > self.patience and min(recent) > self.limit(losses[0]):
            # The first of these losses was that of the weights one step before it.
            if state.is_world_process_zero and args.output_dir is not None:
                _drop_after(Path(args.output_dir), state.global_step - self.patience - 1)
            raise TrainingError(
                f"the loss exploded: {losses[0]:.3g} at the first step, {recent[-1]:.3g} at step "
                f"{state.global_step}; {kept_checkpoint(args.output_dir)}. Lower learning_rate or "
                "set max_grad_norm"
            )

    def limit(self, first: float) -> float:
        """Return the loss above which a training that began with `first` has exploded."""
        return self._factor * max(abs(first), 1.0)


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
    """Marks a checkpoint once it is whole; a kill while it is written leaves it unmarked.

    Each process writes a part of it, so all are waited for.
    """

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Write the mark as the checkpoint's last file."""
        assert args.output_dir is not None
        if args.world_size > 1:
            torch.distributed.barrier()
        if state.is_world_process_zero:
            folder = checkpoint_folder(Path(args.output_dir), state.global_step)
            write_json(folder / WHOLE, _sizes(folder))


def _sizes(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != WHOLE)
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(files)}


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Return where the Trainer puts the checkpoint of a step."""
    return folder / f"checkpoint-{step}"


class Checkpoint(NamedTuple):
    """A whole checkpoint and the optimizer steps done in it."""

    folder: Path
    step: int


def last_whole_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the latest whole checkpoint; remove those that were cut short."""
    for path in folder.glob("checkpoint-*"):
        if not _is_whole(path):
            shutil.rmtree(path)
    return _latest(folder)


def kept_checkpoint(folder: str | Path | None) -> str:
    """Say in words which whole checkpoint a training that has to stop leaves behind."""
    found = None if folder is None else _latest(Path(folder))
    if found is None:
        return "there was no checkpoint yet, so it starts again from the first step"
    return f"the last good checkpoint, {found.folder}, is kept"


def _latest(folder: Path) -> Checkpoint | None:
    found = [
        Checkpoint(path, int(path.name.rpartition("-")[2]))
        for path in folder.glob("checkpoint-*")
        if _is_whole(path)
    ]
    return max(found, key=lambda checkpoint: checkpoint.step, default=None)


def _drop_after(folder: Path, step: int) -> None:
    for path in folder.glob("checkpoint-*"):
        if int(path.name.rpartition("-")[2]) > step:
            shutil.rmtree(path)


def _is_whole(checkpoint: Path) -> bool:
    """Return whether the mark is there, and every file still has the size that it had then."""
    mark = checkpoint / WHOLE
    if not mark.exists():
        return False
    sizes = json.loads(mark.read_text(encoding="utf-8") or "{}")
    files = {checkpoint / name: size for name, size in sizes.items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in files.items())
