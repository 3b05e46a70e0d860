"""Turns a model and two sets of prompts into its refusal direction, by the whole of 2406.11717.

Prompts are split, filtered by what the model does with them, and candidates made from one part and
chosen on the other. The prompts of neither part say how well the direction works: take others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spillover.analysis.refusal_candidates import refusal_candidates
from spillover.analysis.refusal_readout import refusal_log_odds
from spillover.analysis.refusal_selection import (
    Aim,
    RefusalSelection,
    select_refusal_direction,
)
from spillover.analysis.refusal_tokens import find_refusal_tokens
from spillover.models.loading import LoadedModel
from spillover.models.logprobs import next_token_logprobs


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundRefusal:
    """The refusal direction of a model, and what it was found with."""

    selection: RefusalSelection
    refusal_ids: tuple[int, ...]
    "First tokens of refusals."
    n_harmful: int
    "Harmful prompts that passed the filter."
    n_harmless: int


def find_refusal_direction(
    loaded: LoadedModel,
    harmful: Sequence[str],
    harmless: Sequence[str],
    *,
    rng: np.random.Generator,
    refusal_ids: Sequence[int] | None = None,
    n_validation: int = 32,
    aim: Aim = "bypass",
    is_filtered: bool = True,
    spare_first_token: bool = False,
    max_kl: float = 0.1,
    min_induce: float = 0.0,
    max_depth: float = 0.8,
    induce_strength: float = 1.0,
    layers: Sequence[int] | None = None,
    score_all: bool = False,
    batch_size: int = 32,
) -> FoundRefusal:
    """Find the direction by which a model refuses.

    Args:
        loaded: The model.
        harmful: Prompts that it should refuse; 128 + 32 in the paper.
        harmless: Prompts that it should answer.
        rng: Splits the prompts.
        refusal_ids: First tokens of refusals; None finds them by `find_refusal_tokens`.
        n_validation: Prompts of each kind that candidates are compared on; the rest makes them.
        aim: What the chosen direction is to do best, as in `select_refusal_direction`.
        is_filtered: Keep harmful prompts of refusal log-odds above 0 and harmless ones below.
        spare_first_token: Candidates without their part along the first token's state, as in
            `refusal_candidates`.
        max_kl: As in `select_refusal_direction`, like all that follow.
        min_induce: Smallest induce score.
        max_depth: Share of the depth.
        induce_strength: What the vector is multiplied by when it is added.
        layers: Layers whose candidates are measured; None for all.
        score_all: Measure every candidate in full.
        batch_size: Prompts in a forward pass.

    Raises:
        ValueError: If too few prompts are left of a kind, no refusal token stands out, or no
            candidate qualifies.
    """
    logprobs = [
        next_token_logprobs(
            loaded.model,
            [loaded.chat.prompt_ids(prompt) for prompt in prompts],
            pad_id=loaded.pad_id,
            batch_size=batch_size,
            share_prefix=True,
        )
        for prompts in (harmful, harmless)
    ]
    ids = find_refusal_tokens(*logprobs) if refusal_ids is None else list(refusal_ids)
    refused, answered = list(harmful), list(harmless)
    if is_filtered:
        odds = [refusal_log_odds(rows, ids) for rows in logprobs]
        refused = [p for p, value in zip(harmful, odds[0], strict=True) if value > 0]
        answered = [p for p, value in zip(harmless, odds[1], strict=True) if value < 0]
    parts = [_split(p, n_validation, rng=rng) for p in (refused, answered)]
    candidates = refusal_candidates(
        loaded,
        parts[0][0],
        parts[1][0],
        spare_first_token=spare_first_token,
        batch_size=batch_size,
    )
    selection = select_refusal_direction(
        loaded,
        candidates,
        parts[0][1],
        parts[1][1],
        refusal_ids=ids,
        aim=aim,
        max_kl=max_kl,
        min_induce=min_induce,
        max_depth=max_depth,
        induce_strength=induce_strength,
        layers=layers,
        score_all=score_all,
        batch_size=batch_size,
    )
    return FoundRefusal(
        selection=selection,
        refusal_ids=tuple(ids),
        n_harmful=len(refused),
        n_harmless=len(answered),
    )


def _split(
    prompts: Sequence[str], n_validation: int, *, rng: np.random.Generator
) -> tuple[list[str], list[str]]:
    """Return training and validation prompts."""
    if len(prompts) < n_validation + 2 or n_validation < 1:
        raise ValueError(
            f"{len(prompts)} prompts are left of one kind, and {n_validation} are to be kept for "
            "validation; give more prompts that the model refuses, and answers, or keep fewer"
        )
    order = [int(i) for i in rng.permutation(len(prompts))]
    chosen = [prompts[i] for i in order]
    return chosen[n_validation:], chosen[:n_validation]
