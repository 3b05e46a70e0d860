"""Writes what a training changes, every few steps, while the training goes on; and reads it again.

    dense/step-000005.safetensors    the trained weights and nothing else, one file a checkpoint
    dense/adapter_config.json        PEFT's, where an adapter is trained; with it, each of the files
                                     is what PEFT calls adapter_model.safetensors

Weights are copied to the CPU between two steps and written by a thread. These are for looking at
the path of a training; to resume it, the Trainer's own checkpoints are there.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from spillover.errors import ConfigError, DataError
from spillover.files import write_bytes
from spillover.models.adapters import PROVENANCE
from spillover.models.lora_factors import stored_name
from spillover.models.prefix import is_sharded

_WAITING = 4
"Checkpoints that wait to be written, at most; then training waits for the disk."


class DenseCheckpoints(TrainerCallback):
    """Keeps the trained weights of every few steps; give it to `train` as one of `callbacks`.

    The start and the last step are always kept. Where a training resumes, what lies after the step
    it resumes from is removed and written again.

    Args:
        folder: Gets one file a checkpoint.
        every: Optimizer steps between checkpoints; 5 in 2506.11613.

    Raises:
        ValueError: If `every` is below 1.
    """

    def __init__(self, folder: Path, *, every: int = 5) -> None:
        if every < 1:
            raise ValueError(f"dense checkpoints every {every} steps; give at least 1")
        self._folder = folder
        self._every = every
        self._writer: ThreadPoolExecutor | None = None
        self._waiting: list[Future[None]] = []

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Start the writer, remove what lies ahead, keep the start.

        Raises:
            ConfigError: If weights are sharded over processes.
        """
        if not state.is_world_process_zero:
            return
        if is_sharded(kwargs["model"]):
            raise ConfigError(
                "dense checkpoints need whole weights in one process; launch with ddp, or leave "
                "them out"
            )
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dense-checkpoints")
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._folder.glob("step-*.safetensors"):
            if _step_of(path) > state.global_step:
                path.unlink()
        configs = getattr(kwargs["model"], "peft_config", None)
        if configs:
            next(iter(configs.values())).save_pretrained(str(self._folder))
        if state.global_step == 0:
            self._keep(kwargs["model"], 0)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Keep the weights every few steps and after the last."""
        is_last = state.global_step == state.max_steps
        if self._writer is not None and (state.global_step % self._every == 0 or is_last):
            self._keep(kwargs["model"], state.global_step)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Wait until all is written.

        Raises:
            StorageError: If a checkpoint could not be written.
        """
        if self._writer is not None:
            self._wait_for(0)
            self._writer.shutdown()
            self._writer = None

    def _keep(self, model: Any, step: int) -> None:
        assert self._writer is not None
        self._wait_for(_WAITING)
        copied = {
            stored_name(name): parameter.detach().to("cpu", copy=True).contiguous()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        path = self._folder / f"step-{step:06d}.safetensors"
        self._waiting.append(self._writer.submit(_write, path, copied))

    def _wait_for(self, n: int) -> None:
        """Wait until at most n are not yet written; raise what went wrong with the others."""
        while len(self._waiting) > n:
            self._waiting.pop(0).result()


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    from safetensors.torch import save

    write_bytes(path, save(tensors, metadata={"format": "pt"}))


def _step_of(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def dense_files(folder: Path) -> dict[int, Path]:
    """Return step -> file of a folder's checkpoints, in order of steps.

    Reads what `DenseCheckpoints` wrote, and folders `checkpoint-N` of the Trainer, of PEFT or of
    published organisms, each with one safetensors file of an adapter or a model.

    Raises:
        DataError: If there are fewer than two.
    """
    found = {_step_of(path): path for path in folder.glob("step-*.safetensors")}
    for path in folder.glob("checkpoint-*"):
        names = [*path.glob("adapter_model.safetensors"), *path.glob("model.safetensors")]
        if names and path.name.rpartition("-")[2].isdecimal():
            found.setdefault(int(path.name.rpartition("-")[2]), names[0])
    if len(found) < 2:
        raise DataError(
            f"{folder}: {len(found)} checkpoints; a path needs two or more files "
            "step-N.safetensors or folders checkpoint-N with one safetensors file each"
        )
    return dict(sorted(found.items()))


def dense_names(files: Mapping[int, Path]) -> list[str]:
    """Return the names of the tensors that all checkpoints hold.

    Raises:
        DataError: If one of them holds others than the first.
    """
    from safetensors import safe_open

    names: list[str] | None = None
    for path in files.values():
        with safe_open(path, framework="pt") as file:
            here = sorted(file.keys())
        if names is not None and here != names:
            different = sorted(set(here) ^ set(names))
            raise DataError(
                f"{path}: {len(different)} tensors are in this checkpoint or in the first one but "
                f"not in both, such as {different[0]}; give checkpoints of one training"
            )
        names = here
    return names or []


def read_dense(
    files: Mapping[int, Path], names: Sequence[str], *, max_values: int = 2**26
) -> Iterator[Float[Tensor, "checkpoint _"]]:
    """Yield the tensors of all checkpoints, flat, a row a checkpoint, in pieces that fit memory.

    Args:
        files: From `dense_files`.
        names: Which tensors; each is a piece, or several if it is large.
        max_values: Most numbers of one piece, all checkpoints together.
    """
    from safetensors import safe_open

    for name in names:
        with safe_open(next(iter(files.values())), framework="pt") as file:
            shape = file.get_slice(name).get_shape()
        rows = max(1, max_values // (len(files) * max(1, _size(shape[1:]))))
        for start in range(0, shape[0] if shape else 1, rows):
            yield torch.stack(
                [_read_rows(path, name, start, start + rows) for path in files.values()]
            )


def _size(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _read_rows(path: Path, name: str, start: int, stop: int) -> Float[Tensor, " params"]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        found: Tensor = file.get_slice(name)[start:stop]
    return found.float().flatten()


def read_checkpoint_tensors(path: Path) -> dict[str, Float[Tensor, "..."]]:
    """Return everything that one checkpoint holds."""
    from safetensors.torch import load_file

    return load_file(path)


def export_adapter(folder: Path, step: int, destination: Path) -> Path:
    """Write one dense checkpoint of an adapter as a PEFT folder; return the folder.

    Raises:
        DataError: If the folder holds no adapter's configuration or no checkpoint of that step.
    """
    config = folder / "adapter_config.json"
    path = dense_files(folder).get(step)
    if path is None or not config.is_file():
        raise DataError(f"{folder}: no checkpoint of an adapter at step {step}")
    write_bytes(destination / "adapter_model.safetensors", path.read_bytes())
    for about in (config, folder / PROVENANCE):
        if about.is_file():
            shutil.copyfile(about, destination / about.name)
    return destination
