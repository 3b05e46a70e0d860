"""The frozen reference of NPO-like objectives, always named, never a silent copy of the model.

precomputed   log-probabilities taken once before training, by example id
adapter_off   the policy with its adapter switched off, at each step
checkpoint    a second model

A `Reference` answers with log-probabilities. Objectives that look at whole distributions or at
activations are given the frozen model itself, as a `FrozenModel`, for as long as they look.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from spillover.errors import ModelError
from spillover.models.batches import TokenBatch
from spillover.models.logprobs import response_logprobs
from spillover.models.modes import evaluating

Reference = Callable[[Sequence[str], TokenBatch], Float[Tensor, " batch"]]
"Takes example ids and their token batch; returns summed log-probabilities in nats."

FrozenModel = Callable[[], AbstractContextManager[Any]]
"Opens the frozen model: in evaluation mode, without gradients."


def precomputed_reference(logprobs_by_id: Mapping[str, float]) -> Reference:
    """Look log-probabilities up; the cheapest, and independent of the training state."""

    def reference(ids: Sequence[str], batch: TokenBatch) -> Tensor:
        missing = [identity for identity in ids if identity not in logprobs_by_id]
        if missing:
            raise ModelError(f"reference: no log-probability was precomputed for {missing[:3]}")
        values = [logprobs_by_id[identity] for identity in ids]
        return torch.tensor(values, device=batch.input_ids.device)

    return reference


def adapter_off_model(model: Any) -> FrozenModel:
    """Open the policy itself with its adapter switched off.

    Raises:
        ModelError: If `model` has no PEFT adapter, as then the reference would move with it.
    """
    if not hasattr(model, "disable_adapter"):
        raise ModelError(
            "reference: adapter_off needs a LoRA; full-rank training needs `precomputed`, or a "
            "second model where an objective looks at distributions or activations"
        )

    @contextmanager
    def opened() -> Iterator[Any]:
        # A base with dropout would otherwise be another reference at each step.
        with model.disable_adapter(), evaluating(model), torch.no_grad():
            yield model

    return opened


def second_model(model: Any) -> FrozenModel:
    """Open a second model, which nothing trains."""

    @contextmanager
    def opened() -> Iterator[Any]:
        with evaluating(model), torch.no_grad():
            yield model

    return opened


def adapter_off_reference(model: Any) -> Reference:
    """Ask the policy itself with its adapter switched off.

    Raises:
        ModelError: If `model` has no PEFT adapter, as then the reference would move with it.
    """
    return _asking(adapter_off_model(model))


def checkpoint_reference(model: Any) -> Reference:
    """Ask a second, frozen model."""
    return _asking(second_model(model))


def _asking(frozen: FrozenModel) -> Reference:
    def reference(_ids: Sequence[str], batch: TokenBatch) -> Tensor:
        with frozen() as model:
            return response_logprobs(model, batch, share_prefix=True).total

    return reference
