"""What training minimises: a loss on forget and a loss on retain examples, in one literal table.

    loss = w1 * mean over forget examples + w2 * mean over retain examples

It sees no model, so adding an objective is one line in `OBJECTIVES` over functions of `losses`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from spillover.errors import ConfigError
from spillover.training.losses import cross_entropy_loss, gradient_ascent_loss, npo_loss


@dataclass(frozen=True)
class Responses:
    """Log-probabilities of responses of one role, in nats, summed over their tokens."""

    policy: Float[Tensor, " batch"]
    "Under the model in training."
    reference: Float[Tensor, " batch"]
    "Under the frozen reference; zeros where an objective does not look."
    n_tokens: Float[Tensor, " batch"]


ExampleLoss = Callable[[Responses], Float[Tensor, " batch"]]
"Gives one loss a response."


@dataclass(frozen=True)
class Objective:
    """A weighted loss for each role; None where the role has no examples."""

    forget: ExampleLoss | None
    retain: ExampleLoss | None
    forget_weight: float = 1.0
    "The paper's w1."
    retain_weight: float = 1.0
    "The paper's w2."
    uses_reference: bool = False


def _npo(beta: float) -> ExampleLoss:
    return lambda r: npo_loss(r.policy, r.reference, beta=beta)


def _gradient_ascent(_beta: float) -> ExampleLoss:
    return lambda r: gradient_ascent_loss(r.policy)


def _cross_entropy(_beta: float) -> ExampleLoss:
    return lambda r: cross_entropy_loss(r.policy, r.n_tokens)


@dataclass(frozen=True)
class ObjectiveKind:
    """How an objective is put together; each loss is made from beta."""

    forget: Callable[[float], ExampleLoss] | None
    retain: Callable[[float], ExampleLoss] | None
    uses_reference: bool


OBJECTIVES: dict[str, ObjectiveKind] = {
    # 2511.14017 eq. 1
    "npo": ObjectiveKind(_npo, None, uses_reference=True),
    # 2511.14017 B.2.1. It gives neither w1 nor w2: the first term starts at (2 / beta) ln 2 = 13.9
    # nats a response, the second at about 0.5 nats a token.
    "anpo": ObjectiveKind(_npo, _cross_entropy, uses_reference=True),
    "sft": ObjectiveKind(None, _cross_entropy, uses_reference=False),
    # NPO's limit for beta -> 0, without its brake.
    "gradient_ascent": ObjectiveKind(_gradient_ascent, None, uses_reference=False),
}


def make_objective(
    name: str, *, beta: float = 0.1, forget_weight: float = 1.0, retain_weight: float = 1.0
) -> Objective:
    """Return the objective called `name`.

    Args:
        name: A key of `OBJECTIVES`.
        beta: NPO's inverse temperature, in 1/nats.
        forget_weight: The paper's w1.
        retain_weight: The paper's w2.

    Raises:
        ConfigError: If there is no such objective.
    """
    if name not in OBJECTIVES:
        raise ConfigError(f"objective {name!r} is not known; choose one of {', '.join(OBJECTIVES)}")
    kind = OBJECTIVES[name]
    return Objective(
        forget=None if kind.forget is None else kind.forget(beta),
        retain=None if kind.retain is None else kind.retain(beta),
        forget_weight=forget_weight,
        retain_weight=retain_weight,
        uses_reference=kind.uses_reference,
    )
