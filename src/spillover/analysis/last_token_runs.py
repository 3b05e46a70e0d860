"""Turns prompts into first-token distributions while activations of their last token are edited.

An edit at the last token of a prompt touches no other token, so the keys and values of all tokens
before it are computed once; each edit then costs one token a prompt. Edits are vectors that are
added, one a prompt: a patch adds the difference of two models' activations, an ablation takes a
component off. Knows nothing of what an edit is for.
"""

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from spillover.errors import ModelError
from spillover.models.architecture import Architecture
from spillover.models.batches import TokenBatch, batches_by_length, pad_batch
from spillover.models.chat import ChatTokens
from spillover.models.hooks import Site, edit_activations, record_activations
from spillover.models.output_rows import contiguous_head_input, no_logits
from spillover.models.prefix import can_share_prefix

_ROWS_AT_ONCE = 192


@dataclass(frozen=True, eq=False)
class CachedPrompts:
    """Prompts of one model with all but their last token computed."""

    n: int
    batches: tuple[tuple[list[int], TokenBatch, Any], ...]
    "Places of the prompts, their left-padded tokens, and keys and values of all but the last."


@torch.no_grad()
def cache_prompts(
    model: Any, prompts: Sequence[ChatTokens], *, pad_id: int, batch_size: int = 16
) -> CachedPrompts:
    """Compute everything before the last token of each prompt.

    Args:
        model: A causal language model, PEFT-wrapped or not.
        prompts: From `states.prompt_tokens`; a response is left out.
        pad_id: Written at padding.
        batch_size: Prompts in one pass.

    Raises:
        ModelError: If the model's memory of a prompt is not keys and values.
        ValueError: If there are no prompts, or one has fewer than two tokens.
    """
    if not can_share_prefix(model):
        raise ModelError(
            f"{type(model).__name__}: its memory of a prompt is not keys and values, which editing "
            "the last token needs; leave this analysis out"
        )
    cut = [ChatTokens(p.input_ids[: p.prompt_length], p.prompt_length) for p in prompts]
    if not cut or min(len(p.input_ids) for p in cut) < 2:
        raise ValueError(f"{len(cut)} prompts; give at least one, each of two tokens or more")
    device = next(model.parameters()).device
    found = []
    for indices in batches_by_length([len(p.input_ids) for p in cut], batch_size=batch_size):
        batch = pad_batch([cut[i] for i in indices], pad_id=pad_id).to(device)
        with no_logits(model):
            cache = model(
                input_ids=batch.input_ids[:, :-1],
                attention_mask=batch.attention_mask[:, :-1],
                position_ids=batch.position_ids()[:, :-1],
                use_cache=True,
            ).past_key_values
        found.append((indices, batch, cache))
    return CachedPrompts(n=len(cut), batches=tuple(found))


def last_token_states(
    model: Any,
    architecture: Architecture,
    prompts: CachedPrompts,
    *,
    sites: Sequence[Site],
    layers: Sequence[int],
) -> dict[Site, Float[Tensor, "layer prompt d_model"]]:
    """Return the last token's activations at some sites, in float32 on the CPU."""
    shape = (len(layers), prompts.n, architecture.d_model)
    found: dict[Site, Tensor] = {site: torch.empty(shape) for site in sites}
    for indices, batch, cache in prompts.batches:
        with record_activations(model, architecture, sites=sites, layers=layers) as seen:
            _run_last_token(model, batch, cache, copies=1)
        for (site, layer), values in seen.items():
            found[site][list(layers).index(layer), indices] = values[:, -1].float().cpu()
    return found


def last_token_logprobs(
    model: Any, architecture: Architecture, prompts: CachedPrompts
) -> Float[Tensor, "prompt vocab"]:
    """Return the log-distribution of the first response token, nothing edited."""
    none = torch.zeros(1, prompts.n, architecture.d_model)
    return edited_logprobs(model, architecture, prompts, none, site="resid_post", layer=0)[0]


def edited_logprobs(
    model: Any,
    architecture: Architecture,
    prompts: CachedPrompts,
    edits: Float[Tensor, "draw prompt d_model"],
    *,
    site: Site,
    layer: int,
) -> Float[Tensor, "draw prompt vocab"]:
    """Log-distributions of the first response token with vectors added at the last prompt token.

    Args:
        model: The model that `prompts` were computed with.
        architecture: Its `Architecture`.
        prompts: From `cache_prompts`.
        edits: What is added to each prompt's activations, for any number of edits.
        site: Where in the layer.
        layer: Layer index from 0.

    Returns:
        Nats, in float32 on the CPU.
    """
    n = edits.shape[0]
    rows: dict[int, Tensor] = {}
    for indices, batch, cache in prompts.batches:
        step = max(1, _ROWS_AT_ONCE // len(indices))
        for start in range(0, n, step):
            added = edits[start : start + step][:, indices]
            logprobs = _added(model, architecture, batch, cache, added, site=site, layer=layer)
            for place, index in enumerate(indices):
                for draw in range(len(added)):
                    rows[(start + draw) * prompts.n + index] = logprobs[draw, place]
    found = torch.stack([rows[place] for place in range(n * prompts.n)])
    return found.reshape(n, prompts.n, -1)


def _added(
    model: Any,
    architecture: Architecture,
    batch: TokenBatch,
    cache: Any,
    added: Float[Tensor, "draw batch d_model"],
    *,
    site: Site,
    layer: int,
) -> Float[Tensor, "draw batch vocab"]:
    copies = len(added)
    # Copies of a prompt lie next to each other, as the cache repeats its rows.
    flat = added.transpose(0, 1).flatten(0, 1)[:, None]

    def edit(activations: Tensor) -> Tensor:
        exact = activations.float() + flat.to(activations.device)
        return exact.to(activations.dtype)

    with edit_activations(model, architecture, site=site, layer=layer, edit=edit):
        logits = _run_last_token(model, batch, cache, copies=copies)
    logprobs = torch.log_softmax(logits.float(), dim=-1).cpu()
    return logprobs.reshape(-1, copies, logprobs.shape[-1]).transpose(0, 1)


@torch.no_grad()
def _run_last_token(
    model: Any, batch: TokenBatch, cache: Any, *, copies: int
) -> Float[Tensor, "row vocab"]:
    # A pass writes into its cache, and later ones need it as it was.
    own = copy.deepcopy(cache)
    if copies > 1:
        own.batch_repeat_interleave(copies)
    with ExitStack() as stack:
        stack.enter_context(contiguous_head_input(model))
        logits: Tensor = model(
            input_ids=batch.input_ids[:, -1:].repeat_interleave(copies, dim=0),
            attention_mask=batch.attention_mask.repeat_interleave(copies, dim=0),
            position_ids=batch.position_ids()[:, -1:].repeat_interleave(copies, dim=0),
            past_key_values=own,
            use_cache=True,
        ).logits
    return logits[:, -1]
