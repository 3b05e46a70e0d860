"""Turns responses and two states of a model into how far apart their next-token distributions are.

Exact, over the whole vocabulary, at every response token. The reference's distributions are kept
where they were computed once, so that a training can be measured again and again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from spillover.analysis.divergences import kl_divergence
from spillover.models.batches import TokenBatch, batches_by_length, pad_batch
from spillover.models.chat import ChatTokens
from spillover.models.logprobs import response_logits


@dataclass(frozen=True)
class TokenDistributions:
    """What a model says of every response token, in batches; about vocabulary * tokens numbers."""

    batches: tuple[tuple[list[int], TokenBatch, Float[Tensor, "_ vocab"]], ...]
    "Places of the examples, their tokens, and log-probabilities in nats."
    n_examples: int


@torch.no_grad()
def token_distributions(
    model: Any, examples: Sequence[ChatTokens], *, pad_id: int, batch_size: int = 8
) -> TokenDistributions:
    """Read the distributions of a model; held in float16, with an error of about 0.001 nats.

    Args:
        model: A causal language model, PEFT-wrapped or not.
        examples: Exchanges with a response.
        pad_id: Written at padding.
        batch_size: Examples in a forward pass.

    Raises:
        ValueError: If there are no examples.
    """
    if not examples:
        raise ValueError("no examples to read distributions on; give at least one")
    device = next(model.parameters()).device
    found = []
    for places in batches_by_length([len(e.input_ids) for e in examples], batch_size=batch_size):
        chosen = [examples[i] for i in places]
        batch = pad_batch(chosen, pad_id=pad_id, padding_side="right").to(device)
        logprobs = torch.log_softmax(response_logits(model, batch).float(), dim=-1)
        found.append((list(places), batch, logprobs.to(torch.float16)))
    return TokenDistributions(tuple(found), len(examples))


@torch.no_grad()
def kl_from(reference: TokenDistributions, model: Any) -> NDArray[np.float64]:
    """KL(reference || model), the mean over each example's response tokens, in nats.

    Args:
        reference: From `token_distributions`.
        model: What is compared with it; on the same device.

    Returns:
        One number an example, in order.
    """
    values = np.zeros(reference.n_examples)
    for places, batch, logprobs in reference.batches:
        own = torch.log_softmax(response_logits(model, batch).float(), dim=-1)
        # float16 does not quite sum to one; normalised again so that a model is 0 from itself.
        first = torch.log_softmax(logprobs.float(), dim=-1)
        by_token = kl_divergence(first, own)
        rows = batch.response_rows()
        sums = torch.zeros(len(places), device=by_token.device).index_add_(0, rows, by_token)
        means = sums / batch.response_mask.sum(dim=1)
        values[places] = means.double().cpu().numpy()
    return values
