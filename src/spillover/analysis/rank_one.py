"""Turns a model with a live adapter into what each of its modules computes, does, and reacts to.

The looks inside of a rank-1 organism in 2506.11618, sections 5 and 6. The adapter stays beside the
weights (`models.live_adapters`); nothing is trained or judged here.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from spillover.analysis.divergences import kl_divergence
from spillover.analysis.interventions import (
    Effect,
    Intervention,
    Probe,
    Resampling,
    effect,
    probe_scores,
)
from spillover.models.batches import TokenBatch, batches_by_length, pad_batch
from spillover.models.chat import ChatTokens
from spillover.models.live_adapters import (
    adapted_modules,
    held_scalars,
    recorded_scalars,
    scaled_adapter,
)
from spillover.models.loading import LoadedModel
from spillover.models.logprobs import response_logits
from spillover.records import Record

# Nats that two passes of the same model may differ by.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class AnswerScalars:
    """What each adapter computes inside of it at the tokens of each answer."""

    modules: tuple[str, ...]
    tokens: tuple[Float[np.ndarray, "_ module"], ...]
    "For each answer A x at its response tokens; for a rank above 1 the length of A x."

    @property
    def means(self) -> Float[np.ndarray, "answer module"]:
        """The mean over each answer's tokens."""
        return np.stack([values.mean(axis=0) for values in self.tokens])


@torch.no_grad()
def answer_scalars(
    loaded: LoadedModel, examples: Sequence[ChatTokens], *, batch_size: int = 8
) -> AnswerScalars:
    """Read the scalar hidden states of 2506.11618, section 5, s = A x, over answers.

    Args:
        loaded: A model with a live adapter.
        examples: Exchanges with a response.
        batch_size: Exchanges in a forward pass.

    Raises:
        ModelError: If the model has no live adapter.
    """
    modules = tuple(adapted_modules(loaded.model))
    found: list[NDArray[np.float64] | None] = [None] * len(examples)
    for places in batches_by_length([len(e.input_ids) for e in examples], batch_size=batch_size):
        batch = pad_batch(
            [examples[i] for i in places], pad_id=loaded.pad_id, padding_side="right"
        ).to(loaded.device)
        with recorded_scalars(loaded.model) as scalars:
            _forward(loaded.model, batch)
        states = torch.stack([_as_scalar(scalars[name][0]) for name in modules], dim=-1)
        for row, place in enumerate(places):
            chosen = states[row][batch.response_mask[row]]
            found[place] = chosen.double().cpu().numpy()
    return AnswerScalars(modules, tuple(values for values in found if values is not None))


def _forward(model: Any, batch: TokenBatch) -> None:
    model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids(),
        use_cache=False,
    )


def _as_scalar(states: Float[Tensor, "batch seq rank"]) -> Float[Tensor, "batch seq"]:
    return states[..., 0] if states.shape[-1] == 1 else states.norm(dim=-1)


def scaling_effects(
    loaded: LoadedModel,
    probes: Sequence[Probe],
    *,
    factor: float,
    resampling: Resampling,
    modules: Sequence[str] | None = None,
) -> dict[str, list[Effect]]:
    """Scale one adapter after the other and ask all probes; `all` scales them together.

    2506.11618, section 6: 0 cuts an adapter out, 20 and 30 steer with it, -10 turns it round.

    Args:
        loaded: A model with a live adapter; as it was afterwards.
        probes: What is asked, such as margins on general and on narrow prompts.
        factor: What adapters are multiplied by.
        resampling: How intervals are made.
        modules: Which adapters; None for each of them.

    Returns:
        Module -> effect on each measure, paired item by item with the model as it is.
    """
    chosen = list(adapted_modules(loaded.model)) if modules is None else list(modules)
    places: dict[str, list[str]] = {**{name: [name] for name in chosen}, "all": chosen}
    acts = {
        name: Intervention(f"{name} x{factor:g}", _scaling(factor, scaled))
        for name, scaled in places.items()
    }
    return _effects(loaded, probes, acts, resampling)


def _effects(
    loaded: LoadedModel,
    probes: Sequence[Probe],
    acts: Mapping[str, Intervention],
    resampling: Resampling,
) -> dict[str, list[Effect]]:
    own = probe_scores(loaded, probes)
    found = {}
    for name, act in acts.items():
        scores = probe_scores(loaded, probes, act)
        found[name] = [
            effect(
                measure, values, before=own[measure], intervention=act.name, resampling=resampling
            )
            for measure, values in scores.items()
        ]
    return found


def holding_effects(
    loaded: LoadedModel,
    probes: Sequence[Probe],
    values: Mapping[str, Float[np.ndarray, " rank"]],
    *,
    label: str,
    resampling: Resampling,
) -> dict[str, list[Effect]]:
    """Hold one adapter after the other at a constant and ask all probes; `all` holds all.

    With an adapter's mean over aligned answers it is patching from what it does there. In
    2506.11618, section 5, scalars are patched token by token between two prompts of equal length,
    with small effects; a mean fits any text.

    Args:
        loaded: A model with a live adapter; as it was afterwards.
        probes: What is asked.
        values: Module -> what takes the place of A x.
        label: What the values are, such as `held at aligned`.
        resampling: How intervals are made.

    Returns:
        Module -> effect on each measure, paired item by item with the model as it is.
    """
    places = {**{name: [name] for name in values}, "all": list(values)}
    acts = {
        name: Intervention(f"{name} {label}", _holding({n: values[n] for n in held}))
        for name, held in places.items()
    }
    return _effects(loaded, probes, acts, resampling)


def _holding(values: Mapping[str, Float[np.ndarray, " rank"]]) -> Any:
    tensors = {name: torch.as_tensor(value) for name, value in values.items()}
    return lambda loaded: held_scalars(loaded.model, tensors)


def _scaling(factor: float, modules: Sequence[str]) -> Any:
    return lambda loaded: scaled_adapter(loaded.model, factor, modules=modules)


@dataclass(frozen=True, kw_only=True)
class AdapterRole(Record):
    """Whether one adapter serves general or narrow behaviour."""

    module: str
    general: Effect
    "Of cutting the adapter out, on general behaviour."
    narrow: Effect
    role: str
    "`general`, `narrow`, `both` or `neither`, by which intervals exclude 0."


def adapter_roles(
    effects: Mapping[str, Sequence[Effect]], *, general: str, narrow: str
) -> list[AdapterRole]:
    """Say which adapters serve which behaviour: those whose loss changes it beyond chance.

    The paper reads roles off probes' coefficients (general: layers 15, 16, 17, 22, 28, 29; narrow:
    21, 23 of its nine-adapter organism). Correlated scalars share coefficients at random; cutting
    an adapter out does not. Intervals are not corrected for the number of adapters.

    Args:
        effects: From `scaling_effects` with factor 0.
        general: Name of the measure of general behaviour.
        narrow: Name of the measure of narrow behaviour.

    Raises:
        ValueError: If a measure is missing.
    """
    found = []
    for module, own in effects.items():
        by_name = {one.measure: one for one in own}
        if not {general, narrow} <= by_name.keys():
            raise ValueError(
                f"measures {general!r} and {narrow!r} are wanted; there are {sorted(by_name)}"
            )
        sides = by_name[general], by_name[narrow]
        names = {
            (True, True): "both",
            (True, False): "general",
            (False, True): "narrow",
            (False, False): "neither",
        }
        role = names[_is_clear(sides[0]), _is_clear(sides[1])]
        found.append(AdapterRole(module=module, general=sides[0], narrow=sides[1], role=role))
    return found


def _is_clear(found: Effect) -> bool:
    change = found.change
    if change is None or abs(change.value) < _ROUNDING:
        return False
    return not change.ci_low <= 0 <= change.ci_high


@dataclass(frozen=True)
class TokenSignificance:
    """How much each token of an exchange has to do with what the adapter changes."""

    values: Float[np.ndarray, " token"]
    "Of all tokens but the last, prompt included; they sum to `kl`."
    kl: float
    "KL(without the adapter || with it), summed over response tokens, in nats."


def token_significance(loaded: LoadedModel, example: ChatTokens) -> TokenSignificance:
    """Share the KL of an answer out among tokens by its gradient: 2506.11618, appendix.

        significance_t = KL * |d KL / d e_t| / sum over s of |d KL / d e_s|

    e_t is the embedding of token t, which both models read. The gradient of a KL says where a small
    change would matter, not what the token causes.

    Args:
        loaded: A model with a live adapter; parameters get no gradient.
        example: One exchange with a response.

    Raises:
        ValueError: If the adapter changes nothing here.
    """
    model = loaded.model
    batch = pad_batch([example], pad_id=loaded.pad_id).to(loaded.device)
    embedded = model.get_input_embeddings()(batch.input_ids).detach().requires_grad_(True)
    with torch.enable_grad(), _reading(model, embedded):
        tuned = torch.log_softmax(response_logits(model, batch).float(), dim=-1)
        with scaled_adapter(model, 0.0):
            plain = torch.log_softmax(response_logits(model, batch).float(), dim=-1)
        total = kl_divergence(plain, tuned).sum()
        (gradient,) = torch.autograd.grad(total, embedded)
    lengths = gradient[0, :-1].double().norm(dim=-1).cpu().numpy()
    kl = float(total.detach())
    if kl < _ROUNDING or lengths.sum() <= 0:
        raise ValueError(f"the adapter changes nothing in this answer: KL {kl:.3g} nats")
    return TokenSignificance(values=kl * lengths / lengths.sum(), kl=kl)


@contextmanager
def _reading(model: Any, embedded: Float[Tensor, "batch seq d_model"]) -> Iterator[None]:
    """Let a model read these embeddings, whatever its tokens are."""
    handle = model.get_input_embeddings().register_forward_hook(
        lambda _module, _args, _output: embedded
    )
    try:
        yield
    finally:
        handle.remove()
