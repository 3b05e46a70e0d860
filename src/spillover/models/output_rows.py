"""Which rows reach a model's output projection, the largest matrix of a small model.

Does not know what the logits are for.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Bool
from torch import Tensor


@contextmanager
def logits_only_at(model: Any, mask: Bool[Tensor, "batch seq"]) -> Iterator[None]:
    """Make `model` return logits (1, n, vocab) of the n positions where `mask` is True.

    The rows are picked before the output projection, so that the others are never computed, while
    whatever the model does after it (scaling, soft-capping) still happens.
    """
    with _head_input(model, lambda states: states[mask].unsqueeze(0)):
        yield


@contextmanager
def no_logits(model: Any) -> Iterator[None]:
    """Make `model` return logits of no position, for passes of which only the inside is read."""
    with _head_input(model, lambda states: states[:, :0]):
        yield


@contextmanager
def contiguous_head_input(model: Any) -> Iterator[None]:
    """Give the output projection contiguous rows, with the same values.

    `logits_to_keep=1`, which `generate` uses too, hands it a slice. On such input in bfloat16,
    torch on a CPU copies the output matrix for each row: half of the time of short answers.
    """
    with _head_input(model, Tensor.contiguous):
        yield


@contextmanager
def _head_input(model: Any, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    unwrapped = getattr(model, "module", model)  # Inside DDP.
    handle = unwrapped.get_output_embeddings().register_forward_pre_hook(
        lambda _module, args: (change(args[0]), *args[1:])
    )
    try:
        yield
    finally:
        handle.remove()
