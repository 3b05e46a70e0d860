"""How much each layer would erode safety, and freezing those that would most.

A first-order forecast from two gradients at one point: it knows nothing of later steps.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spillover.errors import ConfigError, TrainingError
from spillover.models.architecture import Architecture
from spillover.records import Record
from spillover.training.containment_callbacks import penalty_gradient
from spillover.training.containment_gradients import inner_product
from spillover.training.containment_penalties import Penalty


@dataclass(frozen=True, kw_only=True)
class LayerSensitivity(Record):
    """What a small step of the task in one layer does to the safety loss."""

    layer: int
    conflict: float
    """Rise of the safety loss for a gradient step of length one over all layers: minus the inner
    product of this layer's gradients, over the length of the task's whole gradient."""
    safety_norm: float
    "Length of the safety loss's gradient in this layer."
    task_norm: float


def layer_sensitivities(
    model: Any, architecture: Architecture, *, task: Penalty, safety: Penalty
) -> list[LayerSensitivity]:
    """Predict, layer by layer, how much the task will erode safety.

    One gradient step of length eps on the task changes the safety loss by

        -eps sum over layers <g_task, g_safety> / |g_task|

    and each layer's term is its conflict. A KL to the model as it is has no gradient here; use
    the cross-entropy of refusals (`retain_ce_penalty`), or a model a few steps on.

    Args:
        model: With the weights trainable that will be trained; a LoRA whose B is zero has
            gradients in B only, which is enough.
        architecture: Its `Architecture`.
        task: The loss that will be minimised, as a penalty on a batch of its data.
        safety: What is to be kept.

    Returns:
        One row a layer that is trained, in order.

    Raises:
        TrainingError: If no trained weight lies in a layer, or the task has no gradient.
    """
    by_layer = _trained_by_layer(model, architecture)
    if not by_layer:
        raise TrainingError("layer sensitivity: no trained weight lies in a layer; adapt some")
    flat = [p for own in by_layer.values() for p in own]
    gradients = [penalty_gradient(loss(model), flat) for loss in (task, safety)]
    length = float(inner_product(gradients[0], gradients[0]).sqrt())
    if length == 0:
        raise TrainingError("layer sensitivity: the task's gradient is zero; give other data")
    rows, start = [], 0
    for layer, own in by_layer.items():
        g, s = (found[start : start + len(own)] for found in gradients)
        start += len(own)
        rows.append(
            LayerSensitivity(
                layer=layer,
                conflict=-float(inner_product(g, s)) / length,
                safety_norm=float(inner_product(s, s).sqrt()),
                task_norm=float(inner_product(g, g).sqrt()),
            )
        )
    return rows


def _trained_by_layer(model: Any, architecture: Architecture) -> dict[int, list[Any]]:
    pattern = re.compile(rf"(?:^|\.){re.escape(architecture.layers)}\.(\d+)\.")
    found: dict[int, list[Any]] = {}
    for name, parameter in model.named_parameters():
        match = pattern.search(name)
        if parameter.requires_grad and match:
            found.setdefault(int(match[1]), []).append(parameter)
    return dict(sorted(found.items()))


def most_sensitive(rows: Sequence[LayerSensitivity], *, n: int) -> list[int]:
    """Return the `n` layers of highest conflict, in order of depth.

    Raises:
        ConfigError: If that is none of them or all.
    """
    if not 0 < n < len(rows):
        raise ConfigError(
            f"freezing {n} of {len(rows)} trained layers; freeze at least one and leave one"
        )
    return sorted(row.layer for row in sorted(rows, key=lambda row: -row.conflict)[:n])


def freeze_layers(model: Any, architecture: Architecture, layers: Sequence[int]) -> int:
    """Freeze what is trained in some layers; return the number of parameters frozen.

    Call it before the trainer makes its optimizer.

    Raises:
        ConfigError: If nothing is trained in them, or nothing would be left to train.
    """
    by_layer: Mapping[int, list[Any]] = _trained_by_layer(model, architecture)
    chosen = [p for layer in set(layers) for p in by_layer.get(layer % architecture.n_layers, [])]
    trained = [p for p in model.parameters() if p.requires_grad]
    if not chosen or len(chosen) == len(trained):
        raise ConfigError(
            f"freezing layers {sorted(set(layers))} would freeze {len(chosen)} of {len(trained)} "
            f"trained tensors; layers {list(by_layer)} are trained: freeze some and leave some"
        )
    for parameter in chosen:
        parameter.requires_grad_(False)
    return sum(p.numel() for p in chosen)
