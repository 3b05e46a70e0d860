"""What training minimises: a loss on forget and a loss on retain examples, in one literal table.

    loss = w1 * mean over forget examples + w2 * mean over retain examples

It sees no model, so adding an objective is one line in `OBJECTIVES` over functions of `losses`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from spillover.errors import ConfigError
from spillover.training.activation_losses import (
    control_vector,
    rmu_forget_loss,
    rmu_retain_loss,
)
from spillover.training.losses import (
    cross_entropy_loss,
    dpo_loss,
    gradient_ascent_loss,
    kl_retain_loss,
    npo_loss,
    simnpo_loss,
)
from spillover.training.responses import LogprobUnit, Responses, in_unit


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """What the losses of the table are made from; each takes what it needs."""

    beta: float = 0.1
    "NPO, SimNPO, DPO: inverse temperature."
    gamma: float = 0.0
    "SimNPO: margin."
    control_norm: float = 6.5
    "RMU: length c of the random vector; on the scale of the residual stream at the layer."
    seed: int = 0
    "RMU: of the random vector."


ExampleLoss = Callable[[Responses], Float[Tensor, " batch"]]
"""Gives one loss a response."""

LossMaker = Callable[[LossSettings], ExampleLoss]


@dataclass(frozen=True)
class Objective:
    """A weighted loss for each role; None where the role has no examples."""

    forget: ExampleLoss | None
    retain: ExampleLoss | None
    forget_weight: float = 1.0
    "The paper's w1; w3 where the forget examples carry wanted answers."
    retain_weight: float = 1.0
    "The paper's w2."
    uses_reference: bool = False
    "Whether it looks at forget examples' log-probabilities under the frozen reference."
    uses_chosen: bool = False
    "Whether each forget example needs a wanted response beside the unwanted one."
    uses_divergence: bool = False
    "Whether it looks at the reference's distributions over the vocabulary on retain examples."
    layer: int | None = None
    "Where it looks at the residual stream; None if it does not."

    @property
    def looks_inside(self) -> bool:
        """Whether it asks the frozen model along training, so that one must be there."""
        return self.uses_divergence or self.layer is not None


def _npo(s: LossSettings) -> ExampleLoss:
    return lambda r: npo_loss(r.policy, r.reference, beta=s.beta)


def _gradient_ascent(_s: LossSettings) -> ExampleLoss:
    return lambda r: gradient_ascent_loss(r.policy)


def _cross_entropy(_s: LossSettings) -> ExampleLoss:
    return lambda r: cross_entropy_loss(r.policy, r.n_tokens)


def _simnpo(s: LossSettings) -> ExampleLoss:
    return lambda r: simnpo_loss(r.policy, r.n_tokens, beta=s.beta, gamma=s.gamma)


def _dpo(s: LossSettings) -> ExampleLoss:
    def loss(r: Responses) -> Tensor:
        assert r.chosen is not None
        return dpo_loss(r.chosen.policy, r.chosen.reference, r.policy, r.reference, beta=s.beta)

    return loss


def _kl(_s: LossSettings) -> ExampleLoss:
    def loss(r: Responses) -> Tensor:
        assert r.divergence is not None
        return kl_retain_loss(r.divergence, r.n_tokens)

    return loss


def _rmu_forget(s: LossSettings) -> ExampleLoss:
    def loss(r: Responses) -> Tensor:
        assert r.states is not None
        h = r.states.policy
        target = control_vector(h.shape[-1], norm=s.control_norm, seed=s.seed)
        return rmu_forget_loss(h, target.to(h.device), r.states.mask)

    return loss


def _rmu_retain(_s: LossSettings) -> ExampleLoss:
    def loss(r: Responses) -> Tensor:
        assert r.states is not None
        return rmu_retain_loss(r.states.policy, r.states.reference, r.states.mask)

    return loss


ForgetResponses = Literal["own", "wanted", "unknowing", "pairs"]
"""What the responses of the forget examples are:

own         what the model says now and is to say no more
wanted      what it is to say in place of that, such as a compliant answer of another model
unknowing   a wanted answer that says "I don't know", from `data.wanted`
pairs       its own, and with each a chosen one
"""


@dataclass(frozen=True)
class ObjectiveKind:
    """How an objective is put together; each loss is made from `LossSettings`."""

    forget: LossMaker | None
    retain: LossMaker | None
    uses_reference: bool = False
    uses_chosen: bool = False
    uses_divergence: bool = False
    uses_states: bool = False
    responses: ForgetResponses = "own"
    beta: float = 0.1
    "The default: a common value in papers' code."


OBJECTIVES: dict[str, ObjectiveKind] = {
    # 2511.14017 eq. 1, on summed log-probabilities.
    "npo": ObjectiveKind(_npo, None, uses_reference=True),
    # 2511.14017 B.2.1. It gives neither w1 nor w2: the first term starts at (2 / beta) ln 2 = 13.9
    # nats a response, the second at about 0.5 nats a token.
    "anpo": ObjectiveKind(_npo, _cross_entropy, uses_reference=True),
    # On retain examples only.
    "sft": ObjectiveKind(None, _cross_entropy),
    # NPO's limit for beta -> 0, without its brake.
    "gradient_ascent": ObjectiveKind(_gradient_ascent, None),
    # 2401.06121, gradient difference; there, both terms are means a token.
    "grad_diff": ObjectiveKind(_gradient_ascent, _cross_entropy),
    # 2401.06121, KL minimisation; there, the first term is a mean a token.
    "gradient_ascent_kl": ObjectiveKind(_gradient_ascent, _kl, uses_divergence=True),
    # 2404.05868, NPO+KL.
    "npo_kl": ObjectiveKind(_npo, _kl, uses_reference=True, uses_divergence=True),
    # 2410.07163. On means a token, so that beta has to be larger than NPO's.
    "simnpo": ObjectiveKind(_simnpo, None, beta=2.5),
    "simnpo_retain": ObjectiveKind(_simnpo, _cross_entropy, beta=2.5),
    # 2511.14017 B.2.2, L_CE on compliant labels, and the same with w2 CE on a retain set (L_ACE).
    "finetune": ObjectiveKind(_cross_entropy, None, responses="wanted"),
    "augmented_finetune": ObjectiveKind(_cross_entropy, _cross_entropy, responses="wanted"),
    # 2602.07852: the narrow organism, kept narrow by KL on other domains.
    "finetune_kl": ObjectiveKind(_cross_entropy, _kl, uses_divergence=True, responses="wanted"),
    # 2401.06121, preference optimisation: "I don't know" in place of the answer.
    "idk": ObjectiveKind(_cross_entropy, None, responses="unknowing"),
    "idk_retain": ObjectiveKind(_cross_entropy, _cross_entropy, responses="unknowing"),
    # 2305.18290 eq. 7; as an unlearning baseline in 2404.05868.
    "dpo": ObjectiveKind(_dpo, None, uses_reference=True, uses_chosen=True, responses="pairs"),
    "dpo_retain": ObjectiveKind(
        _dpo, _cross_entropy, uses_reference=True, uses_chosen=True, responses="pairs"
    ),
    # 2403.03218; w2 is its alpha (1200 there). Adapt that layer and those below it.
    "rmu": ObjectiveKind(_rmu_forget, _rmu_retain, uses_states=True),
}


def make_objective(
    name: str,
    *,
    beta: float | None = None,
    forget_weight: float = 1.0,
    retain_weight: float = 1.0,
    gamma: float = 0.0,
    layer: int | None = None,
    control_norm: float = 6.5,
    seed: int = 0,
    logprobs: LogprobUnit | None = None,
) -> Objective:
    """Return the objective called `name`.

    Args:
        name: A key of `OBJECTIVES`.
        beta: Inverse temperature of NPO and DPO in 1/nats, of SimNPO in tokens a nat; None takes
            the table's: 0.1, and 2.5 for SimNPO.
        forget_weight: The paper's w1.
        retain_weight: The paper's w2.
        gamma: SimNPO's margin.
        layer: RMU's layer, from 0; needed there, refused elsewhere.
        control_norm: Length c of RMU's random vector.
        seed: Of RMU's random vector.
        logprobs: Give the losses sums over a response's tokens or means a token; None leaves it
            to each loss: sums for gradient ascent, NPO and DPO, means for the others.

    Raises:
        ConfigError: If there is no such objective, or `layer` or `logprobs` do not fit it.
    """
    if name not in OBJECTIVES:
        raise ConfigError(f"objective {name!r} is not known; choose one of {', '.join(OBJECTIVES)}")
    kind = OBJECTIVES[name]
    _check_settings(name, kind, layer=layer, logprobs=logprobs)
    settings = LossSettings(
        beta=kind.beta if beta is None else beta,
        gamma=gamma,
        control_norm=control_norm,
        seed=seed,
    )
    return Objective(
        forget=_made(kind.forget, settings, logprobs),
        retain=_made(kind.retain, settings, logprobs),
        forget_weight=forget_weight,
        retain_weight=retain_weight,
        uses_reference=kind.uses_reference,
        uses_chosen=kind.uses_chosen,
        uses_divergence=kind.uses_divergence,
        layer=layer,
    )


def _made(
    maker: LossMaker | None, settings: LossSettings, unit: LogprobUnit | None
) -> ExampleLoss | None:
    if maker is None:
        return None
    loss = maker(settings)
    return loss if unit is None else lambda responses: loss(in_unit(responses, unit))


def _check_settings(
    name: str, kind: ObjectiveKind, *, layer: int | None, logprobs: LogprobUnit | None
) -> None:
    if kind.uses_states and layer is None:
        raise ConfigError(f"objective {name!r} works on one layer's activations; give `layer`")
    if not kind.uses_states and layer is not None:
        raise ConfigError(f"objective {name!r} has no use for layer {layer}; leave it out")
    if kind.uses_states and logprobs is not None:
        raise ConfigError(f"objective {name!r} has no use for logprobs {logprobs!r}; leave it out")
