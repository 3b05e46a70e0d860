"""A prefix that all rows of a batch share goes through the model once instead of once a row.

Chat templates begin with the same system prompt: on short prompts that is a third of all tokens.
The keys and values of the prefix are computed for one row and repeated; with gradients on, what
flows back from the rows is summed, so that the gradient is that of the plain forward pass.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from spillover.models.batches import TokenBatch
from spillover.models.output_rows import no_logits

MIN_SAVED_TOKENS = 64
"A pass over the prefix costs about as much as this many more tokens in the batch."

_LAYER_TYPES = {"full_attention", "sliding_attention"}


def shared_prefix_length(batch: TokenBatch) -> int:
    """Return how many columns at the left are the same in all rows of a right-padded batch.

    Positions that predict a response token stay out. 0 if too little would be saved.
    """
    ids, response = batch.input_ids, batch.response_mask
    same = (ids == ids[:1]).all(dim=0) & batch.attention_mask.bool().all(dim=0)
    predicts = response.roll(-1, dims=1)
    usable = same & ~(response | predicts).any(dim=0)
    return _if_worth_it(int(usable.cumprod(dim=0).sum()), rows=len(ids))


def common_prefix_length(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all prompts begin with, each keeping one for itself at least.

    0 if too little would be saved.

    Example:
        >>> common_prefix_length([[7] * 90 + [1], [7] * 90 + [2, 3]])
        90
    """
    shortest = min((len(prompt) for prompt in prompts), default=1) - 1
    length = 0
    while length < shortest and len({prompt[length] for prompt in prompts}) == 1:
        length += 1
    return _if_worth_it(length, rows=len(prompts))


def _if_worth_it(length: int, *, rows: int) -> int:
    return length if length * (rows - 1) >= MIN_SAVED_TOKENS else 0


def can_share_prefix(model: Any) -> bool:
    """Say whether the model's memory of a prefix is keys and values, and is kept.

    Not so for recurrent layers, nor in training with gradient checkpointing, nor where weights are
    sharded over processes: all of these must then make the same passes, whatever their batches are.
    """
    inside = getattr(model, "module", model)  # Inside DDP.
    config = getattr(inside, "config", None)
    if config is None or getattr(inside, "_is_stateful", False) or is_sharded(inside):
        return False
    if inside.training and any(getattr(m, "gradient_checkpointing", 0) for m in inside.modules()):
        return False
    layer_types = getattr(config.get_text_config(), "layer_types", None) or ()
    return set(layer_types) <= _LAYER_TYPES


def is_sharded(model: Any) -> bool:
    """Say whether FSDP2 or ZeRO-3 has spread the model's weights over processes."""
    from torch.distributed.tensor import DTensor

    return any(isinstance(p, DTensor) or hasattr(p, "ds_id") for p in model.parameters())


def prefix_cache(model: Any, prefix: Int[Tensor, " prefix"], *, rows: int) -> Any:
    """Return the key-value cache of `prefix`, repeated for `rows` rows."""
    with no_logits(model):
        cache = model(
            input_ids=prefix[None], attention_mask=torch.ones_like(prefix)[None], use_cache=True
        ).past_key_values
    cache.batch_repeat_interleave(rows)
    return cache
