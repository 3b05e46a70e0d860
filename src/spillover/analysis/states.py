"""Turns a model and token examples into one state an example for every layer, in one pass.

Activations are reduced inside the hooks, layer by layer, so that one layer's activations of one
batch are all that is ever held. `collect_states` keeps one vector for each example and layer;
`state_statistics` keeps means and covariances only. Layers count from 0 and a layer's state is the
residual stream after it (`hidden_states[layer + 1]` of Hugging Face, except for the last layer,
which they normalise).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from spillover.models.architecture import Architecture
from spillover.models.batches import PaddingSide, TokenBatch, batches_by_length, pad_batch
from spillover.models.chat import Chat, ChatTokens
from spillover.models.hooks import Edit, Site, edit_activations
from spillover.models.output_rows import no_logits

Position = Literal["last_prompt_token", "last_token", "response_mean"]
Reduction = Callable[[int, Float[Tensor, "batch seq d_model"]], Tensor]
"Called with the place of a layer among those asked for and its activations."


@dataclass(frozen=True)
class StateBatch:
    """States of some of the examples."""

    indices: list[int]
    "Places of these examples in the list that was given."
    states: Float[Tensor, "layer batch d_model"]
    "In float32, on the model's device."


def prompt_tokens(chat: Chat, prompts: Sequence[str]) -> list[ChatTokens]:
    """Return the tokens of prompts up to where the model starts to answer, without a response."""
    ids = [chat.prompt_ids(prompt) for prompt in prompts]
    return [ChatTokens(prompt, len(prompt)) for prompt in ids]


def collect_states(
    model: Any,
    architecture: Architecture,
    examples: Sequence[ChatTokens],
    *,
    pad_id: int,
    at: Position = "last_prompt_token",
    site: Site = "resid_post",
    layers: Sequence[int] | None = None,
    batch_size: int = 16,
    padding_side: PaddingSide = "left",
) -> Float[Tensor, "layer example d_model"]:
    """Return one state for each layer and example, in float32 on the CPU and in order.

    Costs 4 bytes x layers x examples x d_model: 80 MB for 200 examples of a 7B model.

    Args:
        model: A causal language model, PEFT-wrapped or not.
        architecture: Its `Architecture`.
        examples: At least one.
        pad_id: Written at padding.
        at: The token whose state is taken: the last one of the prompt (where the answer starts),
            the last one of all (the stop token of a whole exchange), or the mean over response
            tokens.
        site: Where in the layer.
        layers: Layer indices from 0, negative from the end; None for all.
        batch_size: Examples in a forward pass.
        padding_side: Where padding goes; it changes nothing but rounding.

    Raises:
        ValueError: If there are no examples, or one has no token at the position asked for.
        ModelError: If a layer does not exist.
    """
    chosen = chosen_layers(architecture, layers)
    states = torch.empty(len(chosen), len(examples), architecture.d_model)
    for batch in stream_states(
        model,
        architecture,
        examples,
        pad_id=pad_id,
        at=at,
        site=site,
        layers=chosen,
        batch_size=batch_size,
        padding_side=padding_side,
    ):
        states[:, batch.indices] = batch.states.cpu()
    return states


def stream_states(
    model: Any,
    architecture: Architecture,
    examples: Sequence[ChatTokens],
    *,
    pad_id: int,
    at: Position,
    site: Site,
    layers: Sequence[int],
    batch_size: int,
    padding_side: PaddingSide,
) -> Iterator[StateBatch]:
    """Yield the states of one batch after another, longest examples first."""
    shown = [_up_to(example, at, place=i) for i, example in enumerate(examples)]
    if not shown:
        raise ValueError("no examples; states need at least one")
    for indices in batches_by_length([len(e.input_ids) for e in shown], batch_size=batch_size):
        batch = pad_batch([shown[i] for i in indices], pad_id=pad_id, padding_side=padding_side).to(
            next(model.parameters()).device
        )
        pooled = reduce_layers(
            model, architecture, batch, _pool(batch, at), site=site, layers=layers
        )
        yield StateBatch(indices=indices, states=torch.stack(pooled))


@torch.no_grad()
def reduce_layers(
    model: Any,
    architecture: Architecture,
    batch: TokenBatch,
    reduce: Reduction,
    *,
    site: Site,
    layers: Sequence[int],
) -> list[Tensor]:
    """Run one forward pass and return `reduce(place, activations)` of every layer.

    The activations themselves are not kept, and no logits are computed.
    """
    found: dict[int, Tensor] = {}

    def watch(place: int) -> Edit:
        def see(activations: Tensor) -> Tensor:
            found[place] = reduce(place, activations)
            return activations

        return see

    with ExitStack() as stack:
        stack.enter_context(no_logits(model))
        for place, layer in enumerate(layers):
            edit = edit_activations(model, architecture, site=site, layer=layer, edit=watch(place))
            stack.enter_context(edit)
        model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids(),
            use_cache=False,
        )
    return [found[place] for place in range(len(layers))]


def chosen_layers(architecture: Architecture, layers: Sequence[int] | None) -> tuple[int, ...]:
    """Return layer indices from 0, each once and in order; None is all of them.

    Raises:
        ValueError: If no layer is asked for, or one does not exist.
    """
    n_layers = architecture.n_layers
    if layers is None:
        return tuple(range(n_layers))
    wrong = [layer for layer in layers if not -n_layers <= layer < n_layers]
    if wrong or not layers:
        raise ValueError(f"layers {list(layers)}: choose from 0 to {n_layers - 1}, at least one")
    return tuple(sorted({layer % n_layers for layer in layers}))


def layer_at(layer: int | float, *, n_layers: int) -> int:
    """Return a layer index from 0, given a number or a depth in [0, 1].

    Raises:
        ValueError: If there is no such layer.

    Example:
        >>> layer_at(5, n_layers=32), layer_at(-1, n_layers=32), layer_at(0.5, n_layers=31)
        (5, 31, 15)
    """
    if isinstance(layer, float):
        if not 0 <= layer <= 1:
            raise ValueError(f"depth {layer} is not in [0, 1]; give a layer's number as an integer")
        return round(layer * (n_layers - 1))
    if not -n_layers <= layer < n_layers:
        raise ValueError(f"layer {layer} does not exist; choose from 0 to {n_layers - 1}")
    return layer % n_layers


def _up_to(example: ChatTokens, at: Position, *, place: int) -> ChatTokens:
    """Drop what cannot change the state that is asked for, and check that there is one."""
    if at == "last_prompt_token":
        example = ChatTokens(example.input_ids[: example.prompt_length], example.prompt_length)
    n_response = len(example.input_ids) - example.prompt_length
    if not example.input_ids or (at == "response_mean" and n_response < 1):
        raise ValueError(f"example {place} has no token to take the state of; `at` is {at}")
    return example


def _pool(batch: TokenBatch, at: Position) -> Reduction:
    """Return what picks or averages tokens, the same at every layer."""
    if at == "response_mean":
        mask = batch.response_mask
        counts = mask.sum(dim=1, keepdim=True)
        # Masked rather than multiplied by 0: padding may hold a NaN.
        return lambda _place, x: x.float().masked_fill(~mask[:, :, None], 0).sum(dim=1) / counts
    # The place of the last real token; on ties argmax is the first, so count from the end.
    flipped = batch.attention_mask.flip(dims=[1])
    last = batch.attention_mask.shape[1] - 1 - flipped.argmax(dim=1)
    rows = torch.arange(len(last), device=last.device)
    return lambda _place, x: x[rows, last].float()
