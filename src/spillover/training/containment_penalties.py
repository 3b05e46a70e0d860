"""Losses that keep a model as it was, each a function of the model alone.

A penalty draws its own batch, so that it can be added to any objective of any trainer
(`containment_callbacks.PenaltyCallback`) or give the gradient that a task is kept from opposing
(`containment_callbacks.SafetyGradient`). All are means over responses, in nats a token or in
squared units of the residual stream.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spillover.errors import DataError
from spillover.models.architecture import Architecture
from spillover.models.batches import TokenBatch, pad_batch
from spillover.models.chat import ChatTokens
from spillover.models.hooks import record_activations
from spillover.models.logprobs import next_token_logprobs, response_logits, response_logprobs
from spillover.models.modes import evaluating
from spillover.training.activation_losses import ldifs_loss
from spillover.training.losses import cross_entropy_loss, kl_retain_loss, token_kl
from spillover.training.references import FrozenModel

Penalty = Callable[[Any], Float[Tensor, ""]]
"Takes the model in training, PEFT-wrapped or not; returns a loss with its graph."


class RetainBatches:
    """Endless token batches over a retain set, reshuffled each time all were used.

    Args:
        examples: From `Chat.example_ids`, in the share of each concept that is wanted.
        pad_id: Written at padding.
        batch_size: Examples in a batch.
        rng: Source of the order.

    Raises:
        DataError: If there are no examples.
    """

    def __init__(
        self,
        examples: Sequence[ChatTokens],
        *,
        pad_id: int,
        batch_size: int = 8,
        rng: np.random.Generator,
    ) -> None:
        if not examples or batch_size < 1:
            raise DataError(
                f"containment: {len(examples)} retain examples in batches of {batch_size}; give "
                "at least one of each"
            )
        self._examples = list(examples)
        self._pad_id = pad_id
        self._size = min(batch_size, len(examples))
        self._indices = self._endless(rng)

    def _endless(self, rng: np.random.Generator) -> Iterator[int]:
        while True:
            yield from rng.permutation(len(self._examples)).tolist()

    def skip(self, n_batches: int) -> None:
        """Leave out some batches."""
        for _ in range(n_batches * self._size):
            next(self._indices)

    def next(self, device: torch.device) -> TokenBatch:
        """Return the next batch, padded on the right."""
        chosen = [self._examples[next(self._indices)] for _ in range(self._size)]
        return pad_batch(chosen, pad_id=self._pad_id, padding_side="right").to(device)


def retain_ce_penalty(batches: RetainBatches) -> Penalty:
    """Cross-entropy of retain responses (https://arxiv.org/abs/2511.14017, B.2.1).

    penalty = mean over responses of -log p(response) / tokens
    """

    def penalty(model: Any) -> Tensor:
        found = response_logprobs(model, batches.next(_device(model)))
        return cross_entropy_loss(found.total, found.n_tokens).mean()

    return penalty


def retain_kl_penalty(batches: RetainBatches, frozen: FrozenModel) -> Penalty:
    """KL to the frozen model at every token of retain responses.

    https://arxiv.org/abs/2508.06249 (i) and https://arxiv.org/abs/2401.06121:

        penalty = mean over responses of sum over tokens KL(frozen || model) / tokens
    """

    def penalty(model: Any) -> Tensor:
        batch = batches.next(_device(model))
        policy = torch.log_softmax(response_logits(model, batch).float(), dim=-1)
        with frozen() as untouched:
            reference = torch.log_softmax(response_logits(untouched, batch).float(), dim=-1)
        rows = batch.response_rows()
        sums = policy.new_zeros(len(batch.input_ids)).index_add(
            0, rows, token_kl(reference, policy)
        )
        return kl_retain_loss(sums, batch.response_mask.sum(dim=-1).float()).mean()

    return penalty


def ldifs_penalty(
    batches: RetainBatches,
    frozen: FrozenModel,
    architecture: Architecture,
    *,
    layers: Sequence[int] | None = None,
) -> Penalty:
    """Distance of the residual stream from the frozen model's, with gradients.

    https://arxiv.org/abs/2508.06249 (ii), after https://arxiv.org/abs/2308.13320:

        penalty = mean over responses, tokens and layers of |h - h_frozen|^2

    Only the frozen side is cut from the graph: were both, as where features are taken without
    gradients, the penalty would be a constant and contain nothing.

    Args:
        batches: What the stream is compared on.
        frozen: From `references`.
        architecture: The model's.
        layers: After which layers, from 0; None for every fifth, as in the paper.
    """
    chosen = every_fifth_layer(architecture.n_layers) if layers is None else list(layers)

    def states(model: Any, batch: TokenBatch, *, detach: bool) -> list[Tensor]:
        inside = getattr(model, "module", model)
        with record_activations(inside, architecture, layers=chosen, detach=detach) as seen:
            response_logits(model, batch)
        return [seen["resid_post", layer] for layer in chosen]

    def penalty(model: Any) -> Tensor:
        batch = batches.next(_device(model))
        policy = states(model, batch, detach=False)
        with frozen() as untouched:
            reference = states(untouched, batch, detach=True)
        mask = batch.response_mask.roll(-1, dims=1)
        return torch.stack(
            [ldifs_loss(h, r, mask).mean() for h, r in zip(policy, reference, strict=True)]
        ).mean()

    return penalty


def every_fifth_layer(n_layers: int) -> list[int]:
    """Return layers 4, 9, 14, ... and the last one where there are fewer than five.

    Example:
        >>> every_fifth_layer(30), every_fifth_layer(2)
        ([4, 9, 14, 19, 24, 29], [1])
    """
    return list(range(4, n_layers, 5)) or [n_layers - 1]


def first_token_penalty(
    prompts: Sequence[list[int]],
    reference: Float[Tensor, "prompt vocab"],
    *,
    pad_id: int,
    batch_size: int = 8,
    rng: np.random.Generator,
) -> Penalty:
    """KL(reference || model) at the first response token of some prompts, in nats.

    It needs no answers and one short forward pass, and holds the token at which a refusal is
    decided (https://arxiv.org/abs/2406.05946: alignment is mostly a few tokens deep). What comes
    later is not held. Dropout is off, as it was for the reference.

    Args:
        prompts: Token ids up to where the model answers.
        reference: From `first_token_reference`; kept on the CPU.
        pad_id: Written at padding.
        batch_size: Prompts a call.
        rng: Source of their order.
    """
    # One response token, whichever, marks the place whose logits are wanted.
    singles = [ChatTokens([*ids, pad_id], len(ids)) for ids in prompts]
    if not singles or len(singles) != len(reference):
        raise DataError(
            f"containment: {len(singles)} prompts and {len(reference)} reference distributions; "
            "give at least one, and one distribution for each"
        )
    waiting: list[int] = []

    def penalty(model: Any) -> Tensor:
        if len(waiting) < min(batch_size, len(singles)):
            waiting.extend(rng.permutation(len(singles)).tolist())
        chosen = [waiting.pop(0) for _ in range(min(batch_size, len(singles)))]
        batch = pad_batch([singles[i] for i in chosen], pad_id=pad_id, padding_side="right")
        with evaluating(model):
            logits = response_logits(model, batch.to(_device(model)))
        policy = torch.log_softmax(logits.float(), dim=-1)
        return token_kl(reference[chosen].to(policy.device), policy).mean()

    return penalty


def first_token_reference(
    model: Any, prompts: Sequence[list[int]], *, pad_id: int
) -> Float[Tensor, "prompt vocab"]:
    """Return the log-distributions that `first_token_penalty` holds a model to."""
    with evaluating(model):
        return next_token_logprobs(model, prompts, pad_id=pad_id)


def _device(model: Any) -> torch.device:
    device: torch.device = next(model.parameters()).device
    return device
