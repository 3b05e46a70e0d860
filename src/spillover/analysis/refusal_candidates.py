"""Turns harmful and harmless prompts into candidate refusal directions, by layer and token.

Differences of means at the input of each layer and at each token that the chat template writes
after the user's words (2406.11717, section 2.3). Which is taken is for `refusal_selection`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from spillover.analysis.states import collect_states, prompt_tokens, reduce_layers
from spillover.models.batches import batches_by_length, pad_batch
from spillover.models.chat import Chat, ChatTokens
from spillover.models.hooks import Site
from spillover.models.loading import LoadedModel

SITE: Site = "resid_pre"
_PROBES = ("a", "Is it 7?", "One.", "x)")


@dataclass(frozen=True, kw_only=True, eq=False)
class RefusalCandidates:
    """Differences of means, harmful less harmless, at `resid_pre` of every layer."""

    vectors: Float[Tensor, "layer position d_model"]
    "In float64."
    positions: tuple[int, ...]
    "Tokens counted from the end of the prompt: -1 is the last one."
    activation_norms: Float[Tensor, " layer"]
    "Mean length of the states at these tokens, in float64."
    n_harmful: int
    n_harmless: int


def post_instruction_length(chat: Chat) -> int:
    """Return how many tokens the chat template writes after the user's words; at least 1.

    A token that holds both the end of the words and the start of the template does not count.
    """
    ids = [chat.prompt_ids(probe)[::-1] for probe in _PROBES]
    length = 0
    while all(len(i) > length for i in ids) and len({i[length] for i in ids}) == 1:
        length += 1
    return max(length, 1)


def refusal_candidates(
    loaded: LoadedModel,
    harmful: Sequence[str],
    harmless: Sequence[str],
    *,
    n_positions: int | None = None,
    spare_first_token: bool = False,
    batch_size: int = 16,
) -> RefusalCandidates:
    """Return the difference of mean states at every layer and post-instruction token.

    Args:
        loaded: The model.
        harmful: Prompts that it refuses; 128 in the paper.
        harmless: Prompts that it answers.
        n_positions: Tokens from the end; None for all that the template writes after the words.
        spare_first_token: Take out of each difference what lies along the state of the prompts'
            first token at its layer, which is not in the paper. That state is a hundred times
            longer than others in many models and holds their attention in place (2402.17762); in
            small models a difference of means has a part along it, and ablating that part
            destroys the model, whatever it does to refusals.
        batch_size: Prompts in a forward pass.

    Raises:
        ValueError: If there are no prompts of a kind, a prompt has fewer tokens, or the first
            token is to be spared and prompts begin with different ones.
    """
    n = post_instruction_length(loaded.chat) if n_positions is None else n_positions
    bad, bad_norms = _means(loaded, harmful, n, batch_size)
    good, good_norms = _means(loaded, harmless, n, batch_size)
    vectors = bad - good
    if spare_first_token:
        axis = torch.nn.functional.normalize(_first_states(loaded, [*harmful, *harmless]), dim=-1)
        vectors = vectors - (vectors * axis).sum(dim=-1, keepdim=True) * axis
    return RefusalCandidates(
        vectors=vectors,
        positions=tuple(range(-n, 0)),
        activation_norms=(bad_norms + good_norms) / 2,
        n_harmful=len(harmful),
        n_harmless=len(harmless),
    )


def _first_states(loaded: LoadedModel, prompts: Sequence[str]) -> Float[Tensor, "layer 1 d_model"]:
    """States of the token that all prompts begin with, which sees no other."""
    first = {loaded.chat.prompt_ids(prompt)[0] for prompt in prompts}
    if len(first) > 1:
        raise ValueError(
            f"prompts begin with {len(first)} different tokens, so there is no first token to "
            "spare; leave spare_first_token out"
        )
    return collect_states(
        loaded.model,
        loaded.architecture,
        [ChatTokens(list(first), 1)],
        pad_id=loaded.pad_id,
        at="last_token",
        site=SITE,
    ).double()


def _means(
    loaded: LoadedModel, prompts: Sequence[str], n_positions: int, batch_size: int
) -> tuple[Float[Tensor, "layer position d_model"], Float[Tensor, " layer"]]:
    """Mean states at the last tokens, and their mean length, summed up in float64."""
    examples = prompt_tokens(loaded.chat, prompts)
    lengths = [len(example.input_ids) for example in examples]
    if not examples or n_positions < 1 or min(lengths) < n_positions:
        raise ValueError(
            f"{len(examples)} prompts, {n_positions} tokens of each; give at least one of each, "
            "and no more tokens than the shortest prompt has"
        )
    architecture = loaded.architecture
    layers = range(architecture.n_layers)
    total = torch.zeros(len(layers), n_positions, architecture.d_model + 1, dtype=torch.float64)
    for indices in batches_by_length(lengths, batch_size=batch_size):
        batch = pad_batch([examples[i] for i in indices], pad_id=loaded.pad_id).to(loaded.device)
        sums = reduce_layers(
            loaded.model,
            architecture,
            batch,
            lambda _place, x: _sums(x[:, -n_positions:].float()),  # Padding is on the left.
            site=SITE,
            layers=layers,
        )
        total += torch.stack(sums).cpu().double()
    mean = total / len(examples)
    return mean[..., :-1], mean[..., -1].mean(dim=1)


def _sums(states: Float[Tensor, "batch position d_model"]) -> Float[Tensor, "position d_model+1"]:
    """Sum over the batch of the states, with their lengths as one more column."""
    lengths = states.norm(dim=-1, keepdim=True)
    return torch.cat([states, lengths], dim=-1).sum(dim=0)
