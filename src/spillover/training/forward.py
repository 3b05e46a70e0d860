"""One group of examples through the policy, and through the reference where an objective asks.

What no objective asks for is not computed: NPO, ANPO and SFT take one forward pass of the policy,
with logits at response positions only. Does not know how the answers are weighed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spillover.errors import ModelError
from spillover.models.architecture import Architecture
from spillover.models.batches import TokenBatch
from spillover.models.hooks import record_activations
from spillover.models.logprobs import logprobs_from_logits, response_logits
from spillover.training.losses import token_kl
from spillover.training.objectives import Objective
from spillover.training.references import FrozenModel, Reference
from spillover.training.responses import LayerStates, Responses


@dataclass(frozen=True)
class ExampleGroup:
    """Examples of similar length that go through the model together."""

    ids: tuple[str, ...]
    is_forget: tuple[bool, ...]
    batch: TokenBatch
    n_forget: int
    "Forget examples in the whole batch of units, over which their loss is averaged."
    n_retain: int
    is_chosen: tuple[bool, ...]
    "Wanted responses to the prompts of the forget examples, in the same order as those."

    def to(self, device: torch.device) -> "ExampleGroup":
        """Return the group with its batch on another device."""
        return replace(self, batch=self.batch.to(device))


@dataclass(frozen=True)
class Sources:
    """Where an objective's answers come from, the policy aside.

    Raises:
        ValueError: If the objective asks for something that is not there.
    """

    objective: Objective
    reference: Reference | None = None
    frozen: FrozenModel | None = None
    architecture: Architecture | None = None

    def __post_init__(self) -> None:
        """Check that what the objective asks for is there."""
        if self.objective.uses_reference and self.reference is None:
            raise ValueError("this objective needs a reference; give one of training.references")
        if self.objective.looks_inside and self.frozen is None:
            raise ValueError(
                "this objective looks into the frozen model; give `frozen`, an adapter_off_model "
                "or a second_model of training.references"
            )
        if self.objective.layer is not None and self.architecture is None:
            raise ValueError("this objective works on a layer's activations; give `architecture`")


@dataclass(frozen=True)
class RoleResponses:
    """The responses of one group by role; either may have none."""

    forget: Responses
    retain: Responses


def responses_by_role(model: Any, group: ExampleGroup, *, sources: Sources) -> RoleResponses:
    """Return what the objective asks for, by role.

    Args:
        model: The policy, PEFT- or DDP-wrapped or not; gradients are on where they are on.
        group: Its batch on the model's device.
        sources: The objective, and the reference that it is checked against.
    """
    batch, layer = group.batch, sources.objective.layer
    device = batch.input_ids.device
    is_forget, is_chosen = (
        torch.tensor(role, device=device) for role in (group.is_forget, group.is_chosen)
    )
    is_retain = ~(is_forget | is_chosen)
    with _watched(model, sources) as seen:
        # A shared prefix goes through the layers apart, so that its activations would be missing.
        logits = response_logits(model, batch, share_prefix=layer is None)
    found = logprobs_from_logits(logits, batch)
    reference = _reference_logprobs(group, is_forget | is_chosen, sources.reference)

    def of_role(rows: Bool[Tensor, " batch"], **asked: Any) -> Responses:
        return Responses(found.total[rows], reference[rows], found.n_tokens[rows], **asked)

    states = None if layer is None else _layer_states(batch, is_retain, seen, sources)
    kl = _divergence(logits, batch, is_retain, sources)
    chosen = of_role(is_chosen) if sources.objective.uses_chosen else None
    return RoleResponses(
        forget=of_role(is_forget, chosen=chosen, states=_rows(states, is_forget)),
        retain=of_role(is_retain, divergence=kl, states=_rows(states, is_retain)),
    )


def _reference_logprobs(
    group: ExampleGroup, asked: Bool[Tensor, " batch"], reference: Reference | None
) -> Float[Tensor, " batch"]:
    values = torch.zeros(len(group.ids), device=asked.device)
    if reference is not None and asked.any():
        # Retain examples have no reference: ask for the other rows only.
        ids = [i for i, ask in zip(group.ids, asked.tolist(), strict=True) if ask]
        values[asked] = reference(ids, group.batch.rows(asked))
    return values


def _divergence(
    logits: Float[Tensor, "token vocab"],
    batch: TokenBatch,
    rows: Bool[Tensor, " batch"],
    sources: Sources,
) -> Float[Tensor, " chosen"] | None:
    """Return KL(reference || policy) of the chosen rows, summed over their response tokens."""
    if not sources.objective.uses_divergence:
        return None
    sums = torch.zeros(int(rows.sum()), device=rows.device)
    if not rows.any():
        return sums
    assert sources.frozen is not None
    chosen = batch.rows(rows)
    with sources.frozen() as frozen:
        reference = response_logits(frozen, chosen, share_prefix=True)
    policy = logits[rows[batch.response_rows()]]
    kl = token_kl(_log_softmax(reference), _log_softmax(policy))
    return sums.index_add(0, chosen.response_rows(), kl)


def _log_softmax(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits.float(), dim=-1)


@contextmanager
def _watched(model: Any, sources: Sources) -> Iterator[dict[Any, Tensor]]:
    """Record the objective's layer, if it has one, without cutting the graph."""
    if sources.objective.layer is None:
        yield {}
        return
    assert sources.architecture is not None
    inside = getattr(model, "module", model)  # Inside DDP.
    with record_activations(
        inside, sources.architecture, layers=[sources.objective.layer], detach=False
    ) as seen:
        yield seen


def _layer_states(
    batch: TokenBatch, is_retain: Bool[Tensor, " batch"], seen: dict[Any, Tensor], sources: Sources
) -> LayerStates:
    layer = sources.objective.layer
    policy = seen["resid_post", layer]
    if torch.is_grad_enabled() and not policy.requires_grad:
        raise ModelError(
            f"layer {layer}: no trained weight lies at or below it, so that the objective cannot "
            "change its activations; adapt this layer or lower ones"
        )
    reference = torch.zeros_like(policy.detach())
    if is_retain.any():
        assert sources.frozen is not None
        with sources.frozen() as frozen, _watched(frozen, sources) as untouched:
            response_logits(frozen, batch.rows(is_retain))
        reference[is_retain] = untouched["resid_post", layer]
    return LayerStates(policy, reference, batch.response_mask.roll(-1, dims=1))


def _rows(states: LayerStates | None, rows: Bool[Tensor, " batch"]) -> LayerStates | None:
    if states is None:
        return None
    return LayerStates(states.policy[rows], states.reference[rows], states.mask[rows])
