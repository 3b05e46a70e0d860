"""Answers of two models to the guard's probes to readings, and readings to signals.

A reading is one number about one concept, with its interval; a signal is one number about the
whole model that rises as alignment erodes, and that a threshold is set for. Knows no models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from spillover.data.concepts import BENIGN
from spillover.records import Record
from spillover.stats import mean_interval
from spillover.training.guard_answers import GuardDirection, ProbeAnswers
from spillover.training.guard_probes import ProbeTokens
from spillover.training.monitor import first_token_kl

ALL_PAIRS = "all_pairs"

Signals = dict[str, float]
"""Signal -> value, each the worst of the concepts to watch; higher is worse.

first_token_kl       mean KL(reference || now) at the first response token, in nats
refusal_drop         fall of the mean refusal log-odds, in nats
margin_drop          fall of the mean margin between aligned and misaligned answers, in nats
drift:<direction>    mean shift of the projection towards erosion, in lengths of the state
"""


@dataclass(frozen=True, kw_only=True)
class GuardReading(Record):
    """One number about one concept at one step."""

    step: int
    "Optimizer steps done."
    metric: str
    """`first_token_kl`, `refusal_probability` (in [0, 1]), `refusal_change` (of log-odds, nats),
    `margin_change` (nats) or `drift:<direction>` (lengths of the state)."""
    concept: str
    value: float
    ci_low: float | None
    "95%, Student's t over probes; None for a single probe."
    ci_high: float | None
    n: int
    "Probes."


def guard_readings(
    reference: ProbeAnswers,
    now: ProbeAnswers,
    *,
    tokens: ProbeTokens,
    directions: Sequence[GuardDirection] = (),
    step: int,
) -> list[GuardReading]:
    """Compare answers to the same probes, concept by concept.

    A drift is the shift of the projection along a direction, relative to the length of the
    reference's state (https://arxiv.org/abs/2606.07631; there without the sign):

        drift = (h_now - h_reference) . d / |h_reference|
    """
    by_prompt = {
        "first_token_kl": first_token_kl(reference.logprobs, now.logprobs),
        "refusal_probability": now.refusal.sigmoid(),
        "refusal_change": now.refusal - reference.refusal,
        **{
            f"drift:{direction.name}": shift
            for direction, shift in zip(
                directions,
                (now.projections - reference.projections) / reference.norms,
                strict=True,
            )
        },
    }
    rows = [
        _reading(metric, concept, own, step=step)
        for metric, values in by_prompt.items()
        for concept, own in _by_concept(values, tokens.concepts).items()
    ]
    if len(now.margins):
        change = (now.margins - reference.margins).tolist()
        rows.append(_reading("margin_change", ALL_PAIRS, change, step=step))
    return rows


def _by_concept(
    values: Float[Tensor, " prompt"], concepts: Sequence[str]
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for concept, value in zip(concepts, values.tolist(), strict=True):
        found.setdefault(concept, []).append(value)
    return found


def _reading(metric: str, concept: str, values: Sequence[float], *, step: int) -> GuardReading:
    interval = mean_interval(values) if len(values) > 1 else None
    return GuardReading(
        step=step,
        metric=metric,
        concept=concept,
        value=float(torch.tensor(values, dtype=torch.float64).mean()),
        ci_low=None if interval is None else interval.low,
        ci_high=None if interval is None else interval.high,
        n=len(values),
    )


def guard_signals(
    readings: Sequence[GuardReading], *, directions: Sequence[GuardDirection] = ()
) -> Signals:
    """Return the signals of one step's readings; benign prompts give none.

    Example:
        >>> def reading(metric, concept, value):
        ...     return GuardReading(step=1, metric=metric, concept=concept, value=value,
        ...                         ci_low=None, ci_high=None, n=1)
        >>> guard_signals([reading("refusal_change", "safety", -2.0),
        ...                reading("refusal_change", "bias", 1.0)])
        {'refusal_drop': 2.0}
    """
    signs: Mapping[str, tuple[str, float]] = {
        "first_token_kl": ("first_token_kl", 1.0),
        "refusal_change": ("refusal_drop", -1.0),
        "margin_change": ("margin_drop", -1.0),
        **{
            f"drift:{d.name}": (f"drift:{d.name}", -1.0 if d.erosion_falls else 1.0)
            for d in directions
        },
    }
    found: Signals = {}
    for reading in readings:
        if reading.metric in signs and reading.concept not in BENIGN:
            name, sign = signs[reading.metric]
            found[name] = max(found.get(name, float("-inf")), sign * reading.value)
    return found
