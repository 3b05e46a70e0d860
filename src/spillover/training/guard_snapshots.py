"""The state of a training, kept in memory or read from a checkpoint, and put back exactly.

What is put back: every trained weight, bit for bit, and the optimizer's state for it (Adam's
moments and step counts). What is not: hyper-parameters such as the learning rate, which stay where
the scheduler has them; the step count, the order of the data and random states, which go on.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spillover.errors import TrainingError
from spillover.models.lora_factors import stored_name


@dataclass(frozen=True)
class TrainingSnapshot:
    """A moment of a training."""

    step: int
    weights: Mapping[str, Tensor]
    "Parameter name -> value, trained ones only, on the CPU."
    optimizer: Mapping[int, Any]
    "The `state` of the optimizer's state dictionary, on the CPU."


def take_snapshot(model: Any, optimizer: Any, *, step: int) -> TrainingSnapshot:
    """Copy trained weights and optimizer state to the CPU: about three times the weights for Adam.

    With FSDP each process keeps its own shards.
    """
    weights = {n: _copied(p.detach()) for n, p in model.named_parameters() if p.requires_grad}
    return TrainingSnapshot(step, weights, _copied(optimizer.state_dict()["state"]))


def restore_snapshot(snapshot: TrainingSnapshot, model: Any, optimizer: Any) -> None:
    """Put weights and optimizer state back, in place; gradients are dropped.

    The snapshot stays good for another time.

    Raises:
        TrainingError: If other weights are trained now than when it was taken.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if trained.keys() != snapshot.weights.keys():
        different = sorted(trained.keys() ^ snapshot.weights.keys())
        raise TrainingError(
            f"guard: {len(different)} weights are trained either now or at step {snapshot.step} "
            f"but not both, such as {different[0]}; freeze or free weights before training only"
        )
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(snapshot.weights[name])
            parameter.grad = None
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": _copied(snapshot.optimizer), "param_groups": groups})


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(inner) for inner in value)
    return copy.deepcopy(value)


def read_checkpoint(folder: Path, model: Any) -> TrainingSnapshot:
    """Read a checkpoint of the Trainer as a snapshot for `model`.

    Raises:
        TrainingError: If it does not hold every trained weight.
    """
    from safetensors.torch import load_file

    stored: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*model*.safetensors")):
        stored |= load_file(file)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    weights = {name: stored.get(stored_name(name)) for name in trained}
    missing = [name for name, value in weights.items() if value is None]
    if missing:
        raise TrainingError(
            f"guard: {folder} does not hold {len(missing)} of {len(trained)} trained weights, such "
            f"as {missing[0]}; use snapshots='memory'"
        )
    state = torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True)
    step = int(folder.name.rpartition("-")[2])
    return TrainingSnapshot(
        step, {n: v for n, v in weights.items() if v is not None}, state["state"]
    )
