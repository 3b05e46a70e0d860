"""Log-probabilities of responses, with logits computed at response positions only.

Turns a model and a token batch into numbers; `training/losses.py` turns those into losses.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from spillover.models.batches import TokenBatch, batches_by_length, pad_batch, position_ids
from spillover.models.chat import ChatTokens
from spillover.models.output_rows import contiguous_head_input, logits_only_at
from spillover.models.prefix import (
    can_share_prefix,
    common_prefix_length,
    prefix_cache,
    shared_prefix_length,
)


class ResponseLogprobs(NamedTuple):
    """Log-probabilities of a batch of responses, in nats."""

    total: Float[Tensor, " batch"]
    "Summed over response tokens, the stop token included."
    n_tokens: Float[Tensor, " batch"]
    "Number of response tokens."


def response_logits(
    model: Any, batch: TokenBatch, *, share_prefix: bool = False
) -> Float[Tensor, "token vocab"]:
    """Return the logits that predict each response token, row after row of the batch.

    The order is that of `batch.input_ids[batch.response_mask]`, which are the tokens predicted.

    Args:
        model: The model, PEFT-wrapped or not.
        batch: Padded examples.
        share_prefix: Compute what all rows begin with once (right-padded batches, two forward
            passes). Same values, up to rounding.
    """
    predicts = batch.response_mask.roll(-1, dims=1)  # Logits at position t - 1 predict token t.
    shared = shared_prefix_length(batch) if share_prefix and can_share_prefix(model) else 0
    # Beside DDP's wrapper, which expects one forward pass for each backward pass.
    inside = getattr(model, "module", model)
    cache = (
        prefix_cache(inside, batch.input_ids[0, :shared], rows=len(predicts)) if shared else None
    )
    with logits_only_at(model, predicts[:, shared:]):
        logits: Tensor = model(
            input_ids=batch.input_ids[:, shared:],
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids()[:, shared:],
            past_key_values=cache,
            use_cache=cache is not None,
        ).logits
    return logits.squeeze(0)


def token_logprobs(
    model: Any, batch: TokenBatch, *, share_prefix: bool = False
) -> Float[Tensor, "batch seq"]:
    """Return the log-probability of each response token, in nats; 0 at all other positions.

    Logits are computed at response positions only; the log-softmax is taken in float32.
    `share_prefix` as in `response_logits`.
    """
    return _token_logprobs(response_logits(model, batch, share_prefix=share_prefix), batch)


def _token_logprobs(
    logits: Float[Tensor, "token vocab"], batch: TokenBatch
) -> Float[Tensor, "batch seq"]:
    targets = batch.input_ids[batch.response_mask]
    # -cross_entropy is the log-softmax at the target without a second full-size tensor.
    values = -torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    # masked_scatter fills row by row, the order in which boolean indexing picked.
    zeros = values.new_zeros(batch.input_ids.shape)
    return zeros.masked_scatter(batch.response_mask, values)


def response_logprobs(
    model: Any, batch: TokenBatch, *, share_prefix: bool = False
) -> ResponseLogprobs:
    """Return each response's log-probability and length; `share_prefix` as in `response_logits`."""
    return logprobs_from_logits(response_logits(model, batch, share_prefix=share_prefix), batch)


def logprobs_from_logits(
    logits: Float[Tensor, "token vocab"], batch: TokenBatch
) -> ResponseLogprobs:
    """Return what `response_logprobs` does, from the logits that `response_logits` gave."""
    values = _token_logprobs(logits, batch)
    n_tokens = batch.response_mask.sum(dim=-1).float()
    return ResponseLogprobs(total=values.sum(dim=-1), n_tokens=n_tokens)


@torch.no_grad()
def dataset_logprobs(
    model: Any, examples: Sequence[ChatTokens], *, pad_id: int, batch_size: int = 16
) -> list[float]:
    """Return the log-probability of each response under `model`, in nats and in order."""
    device = next(model.parameters()).device
    values = [0.0] * len(examples)
    lengths = [len(example.input_ids) for example in examples]
    for indices in batches_by_length(lengths, batch_size=batch_size):
        chosen = [examples[i] for i in indices]
        batch = pad_batch(chosen, pad_id=pad_id, padding_side="right").to(device)
        totals = response_logprobs(model, batch, share_prefix=True).total.tolist()
        for index, total in zip(indices, totals, strict=True):
            values[index] = total
    return values


@torch.no_grad()
def next_token_logprobs(
    model: Any,
    prompts: Sequence[list[int]],
    *,
    pad_id: int,
    batch_size: int = 16,
    share_prefix: bool = False,
) -> Float[Tensor, "prompt vocab"]:
    """Return the log-distribution of the first response token after each prompt, in float32.

    Args:
        model: The model, PEFT-wrapped or not.
        prompts: Token ids up to where the answer starts.
        pad_id: Written at padding.
        batch_size: Prompts in a forward pass.
        share_prefix: Compute what all prompts begin with once a batch. Same values, up to rounding.
    """
    device = next(model.parameters()).device
    shares = share_prefix and can_share_prefix(model)
    shared = common_prefix_length(prompts) if shares else 0
    rows: list[Tensor | None] = [None] * len(prompts)
    for indices in batches_by_length([len(ids) for ids in prompts], batch_size=batch_size):
        rest = [prompts[i][shared:] for i in indices]
        batch = pad_batch([ChatTokens(ids, len(ids)) for ids in rest], pad_id=pad_id).to(device)
        prefix = torch.tensor(prompts[0][:shared], dtype=torch.long, device=device)
        ones = torch.ones_like(prefix).expand(len(rest), -1)
        mask = torch.cat([ones, batch.attention_mask], dim=1)
        with contiguous_head_input(model):
            logits = model(
                input_ids=batch.input_ids,
                attention_mask=mask,
                position_ids=position_ids(mask)[:, shared:],
                past_key_values=prefix_cache(model, prefix, rows=len(rest)) if shared else None,
                logits_to_keep=1,
                use_cache=shared > 0,
            ).logits[:, -1]
        for index, row in zip(
            indices, torch.log_softmax(logits.float(), dim=-1).cpu(), strict=True
        ):
            rows[index] = row
    return torch.stack([row for row in rows if row is not None])
