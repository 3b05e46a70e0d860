"""Picks a refusal direction among candidates by what it does to a model (2406.11717, section 2.4).

    bypass   mean refusal log-odds on harmful prompts with the direction ablated everywhere; low
    induce   the same on harmless prompts with the direction added at its layer; high
    kl       mean KL(model || ablated model) of the first token on harmless prompts; small

Candidates of the last fifth of the layers, those with kl above 0.1 and those that induce less than
0 are left out; of the others the one that bypasses best is taken. Costs up to three passes over the
validation prompts a candidate: the cheaper criteria come first, and a candidate that fails one is
not measured further unless asked for. Log-odds are exact, without the paper's epsilon of 1e-8.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jaxtyping import Float
from torch import Tensor

from spillover.analysis.divergences import kl_divergence
from spillover.analysis.refusal_candidates import SITE, RefusalCandidates
from spillover.analysis.refusal_readout import refusal_log_odds
from spillover.analysis.states import chosen_layers
from spillover.models.directions import Direction
from spillover.models.loading import LoadedModel
from spillover.models.logprobs import next_token_logprobs
from spillover.models.steering import ablate_directions, add_direction
from spillover.records import Record

if TYPE_CHECKING:
    import pandas as pd

Aim = Literal["bypass", "induce"]


@dataclass(frozen=True, kw_only=True)
class CandidateScore(Record):
    """What one candidate does; None where it was not measured, as it had failed before."""

    layer: int
    position: int
    "Token counted from the end of the prompt."
    norm: float
    induce: float | None
    "Mean refusal log-odds on harmless prompts with the direction added, in nats."
    kl: float | None
    "Mean KL of the first token on harmless prompts from ablating it, in nats."
    bypass: float | None
    "Mean refusal log-odds on harmful prompts with the direction ablated, in nats."
    left_out: str = ""
    "Why it cannot be chosen; empty where it can."


@dataclass(frozen=True, kw_only=True, eq=False)
class RefusalSelection:
    """The chosen direction and what it was chosen from."""

    direction: Direction
    chosen: CandidateScore
    scores: tuple[CandidateScore, ...]
    harmful_log_odds: float
    "Mean refusal log-odds of the unchanged model on the harmful prompts, in nats."
    harmless_log_odds: float
    "The same on the harmless ones."

    def to_frame(self) -> "pd.DataFrame":
        """Return one row a candidate."""
        import pandas as pd

        return pd.DataFrame([score.to_dict() for score in self.scores])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scorer:
    """A model with tokenised validation prompts and its own distributions on them."""

    loaded: LoadedModel
    harmful: list[list[int]]
    harmless: list[list[int]]
    refusal_ids: Sequence[int]
    batch_size: int

    def logprobs(
        self, prompts: list[list[int]], context: AbstractContextManager[Any] | None = None
    ) -> Float[Tensor, "prompt vocab"]:
        with context or nullcontext():
            return next_token_logprobs(
                self.loaded.model,
                prompts,
                pad_id=self.loaded.pad_id,
                batch_size=self.batch_size,
                share_prefix=True,
            )

    def log_odds(self, logprobs: Float[Tensor, "prompt vocab"]) -> float:
        return float(refusal_log_odds(logprobs, self.refusal_ids).mean())

    def ablating(self, direction: Direction) -> AbstractContextManager[Any]:
        return ablate_directions(self.loaded.model, self.loaded.architecture, direction)

    def adding(self, direction: Direction, strength: float) -> AbstractContextManager[Any]:
        return add_direction(
            self.loaded.model, self.loaded.architecture, direction, strength=strength
        )


@dataclass(frozen=True, kw_only=True)
class _Limits:
    max_kl: float
    min_induce: float
    max_depth: float
    score_all: bool
    induce_strength: float


def select_refusal_direction(
    loaded: LoadedModel,
    candidates: RefusalCandidates,
    harmful: Sequence[str],
    harmless: Sequence[str],
    *,
    refusal_ids: Sequence[int],
    aim: Aim = "bypass",
    max_kl: float = 0.1,
    min_induce: float = 0.0,
    max_depth: float = 0.8,
    induce_strength: float = 1.0,
    layers: Sequence[int] | None = None,
    score_all: bool = False,
    batch_size: int = 32,
) -> RefusalSelection:
    """Measure candidates on validation prompts and choose one.

    Args:
        loaded: The model.
        candidates: From other prompts.
        harmful: Validation prompts that the model refuses; 32 in the paper.
        harmless: Validation prompts that it answers.
        refusal_ids: First tokens of refusals.
        aim: `bypass` takes the lowest bypass score, as in the paper; `induce` the highest induce
            score among those that qualify.
        max_kl: Largest KL, in nats.
        min_induce: Smallest induce score, in nats.
        max_depth: Layers from this share of the depth on are left out.
        induce_strength: What the vector is multiplied by when it is added; 1 in the paper. Small
            models may need more, as one layer's difference of means does not carry all of it.
        layers: Layers whose candidates are measured; None for all.
        score_all: Measure everything of every candidate, whether or not it can be chosen.
        batch_size: Prompts in a forward pass.

    Raises:
        ValueError: If there are no prompts of a kind, or no candidate qualifies.
    """
    if not harmful or not harmless:
        raise ValueError(f"{len(harmful)} harmful and {len(harmless)} harmless prompts; give both")
    scorer = _Scorer(
        loaded=loaded,
        harmful=[loaded.chat.prompt_ids(prompt) for prompt in harmful],
        harmless=[loaded.chat.prompt_ids(prompt) for prompt in harmless],
        refusal_ids=refusal_ids,
        batch_size=batch_size,
    )
    own = scorer.logprobs(scorer.harmless)
    limits = _Limits(
        max_kl=max_kl,
        min_induce=min_induce,
        max_depth=max_depth,
        score_all=score_all,
        induce_strength=induce_strength,
    )
    found = {
        (layer, place): _score(scorer, candidates, layer, place, own=own, limits=limits)
        for layer in chosen_layers(loaded.architecture, layers)
        for place in range(len(candidates.positions))
    }
    at = _best(found, aim)
    return RefusalSelection(
        direction=_direction(candidates, *at, loaded=loaded, chosen=found[at]),
        chosen=found[at],
        scores=tuple(found.values()),
        harmful_log_odds=scorer.log_odds(scorer.logprobs(scorer.harmful)),
        harmless_log_odds=scorer.log_odds(own),
    )


def _score(
    scorer: _Scorer,
    candidates: RefusalCandidates,
    layer: int,
    place: int,
    *,
    own: Float[Tensor, "prompt vocab"],
    limits: _Limits,
) -> CandidateScore:
    vector = candidates.vectors[layer, place]
    values: dict[str, float] = {}
    left_out = ""
    if layer >= limits.max_depth * candidates.vectors.shape[0]:
        left_out = "its layer is too high"
    if not bool(vector.any()):
        # The template writes the same before every prompt's own words matter.
        left_out = "harmful and harmless prompts have the same mean"
    elif limits.score_all or not left_out:
        direction = _direction(candidates, layer, place, loaded=scorer.loaded)
        values, fault = _measure(scorer, direction, own=own, limits=limits)
        left_out = left_out or fault
    return CandidateScore(
        layer=layer,
        position=candidates.positions[place],
        norm=float(vector.norm()),
        induce=values.get("induce"),
        kl=values.get("kl"),
        bypass=values.get("bypass"),
        left_out=left_out,
    )


def _measure(
    scorer: _Scorer,
    direction: Direction,
    *,
    own: Float[Tensor, "prompt vocab"],
    limits: _Limits,
) -> tuple[dict[str, float], str]:
    """Return the scores, and the first criterion that was failed."""
    added = scorer.logprobs(scorer.harmless, scorer.adding(direction, limits.induce_strength))
    values = {"induce": scorer.log_odds(added)}
    fault = "" if values["induce"] >= limits.min_induce else "it induces too little"
    if fault and not limits.score_all:
        return values, fault
    ablated = scorer.logprobs(scorer.harmless, scorer.ablating(direction))
    values["kl"] = float(kl_divergence(own.double(), ablated.double()).mean())
    fault = fault or ("" if values["kl"] <= limits.max_kl else "its KL is too large")
    if fault and not limits.score_all:
        return values, fault
    values["bypass"] = scorer.log_odds(scorer.logprobs(scorer.harmful, scorer.ablating(direction)))
    return values, fault


def _best(found: dict[tuple[int, int], CandidateScore], aim: Aim) -> tuple[int, int]:
    qualified = {at: score for at, score in found.items() if not score.left_out}
    if not qualified:
        reasons = [score.left_out for score in found.values()]
        counts = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}
        most = max((s.induce for s in found.values() if s.induce is not None), default=math.nan)
        raise ValueError(
            f"none of {len(found)} candidates qualifies: {counts}; the most that one induced is "
            f"{most:.2f} nats. Give prompts that the model refuses and answers more clearly, a "
            "larger induce_strength, or other limits"
        )

    def badness(at: tuple[int, int]) -> float:
        score = qualified[at]
        value = score.bypass if aim == "bypass" else score.induce
        assert value is not None
        return value if aim == "bypass" else -value

    return min(qualified, key=badness)


def _direction(
    candidates: RefusalCandidates,
    layer: int,
    place: int,
    *,
    loaded: LoadedModel,
    chosen: CandidateScore | None = None,
) -> Direction:
    measured = {} if chosen is None else chosen.to_dict()
    return Direction(
        name="refusal",
        layer=layer,
        site=SITE,
        vector=candidates.vectors[layer, place],
        activation_norm=float(candidates.activation_norms[layer]),
        provenance={
            "method": "difference of means, selected as in arXiv 2406.11717",
            "model": loaded.source,
            "model_fingerprint": loaded.fingerprint,
            "position": candidates.positions[place],
            "n_harmful": candidates.n_harmful,
            "n_harmless": candidates.n_harmless,
            **{k: measured[k] for k in ("bypass", "induce", "kl") if k in measured},
        },
    )
