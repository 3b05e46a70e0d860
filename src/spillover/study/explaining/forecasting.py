"""Training data and a model to a forecast of erosion, before any training.

Three readings, none of which trains or changes the model:

projection difference  of the data's answers from the model's own, along the direction from its
                       refusals to its answers (2507.21509, which finds it to foretell trait shifts)
entanglement           of the data's prompts with each concept (2511.14017, R3)
first token            how surely each concept is refused now: log-odds of a refusal (2406.11717)

What a reading means in refusals lost is unknown unless erosion was measured on the same model;
`calibrate` takes that from finished studies, and only for entanglement. Reads prompts and answers
as they are; knows nothing of learning rate or steps, which matter more than anything here.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spillover.analysis.directions import answer_tokens
from spillover.analysis.entanglement import Entanglement, entanglement, with_intervals, with_null
from spillover.analysis.erosion_pairs import MeasuredErosion
from spillover.analysis.estimates import Estimate
from spillover.analysis.prediction import predict_erosion
from spillover.analysis.refusal_readout import refusal_log_odds
from spillover.analysis.refusal_tokens import find_refusal_tokens
from spillover.analysis.states import collect_states, layer_at, prompt_tokens
from spillover.data import bundled_prompts
from spillover.data.concepts import BENIGN, CONCEPTS
from spillover.errors import DataError
from spillover.generation import GenerationSettings
from spillover.models.chat import ChatTokens
from spillover.models.logprobs import next_token_logprobs
from spillover.records import Example, Prompt
from spillover.stats import mean_interval
from spillover.study.explaining.forecasts import (
    ConceptForecast,
    ErosionForecast,
    ForecastCalibration,
)

if TYPE_CHECKING:
    from spillover.models.loading import LoadedModel

DATA = "training data"
_LEAST = 8
"Examples below which a mean says too little."
_MAX_NEW_TOKENS = 24


def forecast_erosion(
    loaded: "LoadedModel",
    examples: Sequence[Example],
    *,
    rng: np.random.Generator,
    layer: int | float = 0.6,
    prompts: Sequence[Prompt] | None = None,
    n_prompts: int = 24,
    measured: Sequence[MeasuredErosion] = (),
) -> ErosionForecast:
    """Forecast what training a model on some examples would erode.

    Args:
        loaded: The aligned model; used as it is.
        examples: Training data; at least eight.
        rng: Source of resamples and of the null.
        layer: Where states are read: a layer from 0, or a depth in [0, 1].
        prompts: Of the concepts to look at and of benign sets; None for the bundled training ones.
        n_prompts: At most so many of each are read.
        measured: Erosion of finished unlearnings of this model, for the calibration.

    Raises:
        DataError: If there are too few examples or prompts, or the model refuses nothing that it
            could lose.
    """
    if len(examples) < _LEAST:
        raise DataError(
            f"forecast: {len(examples)} training examples; give at least {_LEAST}, as means of "
            "fewer say nothing"
        )
    place = layer_at(layer, n_layers=loaded.architecture.n_layers)
    asked = _asked(prompts, n_prompts=n_prompts)
    states = {
        name: _prompt_states(loaded, [p.prompt for p in own], place) for name, own in asked.items()
    }
    states[DATA] = _prompt_states(loaded, [e.prompt for e in examples], place)
    benign = torch.cat([states.pop(name) for name in asked if name in BENIGN], dim=1)
    odds = _log_odds(loaded, {**asked, DATA: _as_prompts(examples)})
    shift = _projection_differences(loaded, examples, asked, place)
    interval = mean_interval(shift.tolist())
    return ErosionForecast(
        n_examples=len(examples),
        layer=place,
        projection_difference=float(shift.mean()),
        projection_low=interval.low,
        projection_high=interval.high,
        refused_prompts=float((odds[DATA] > 0).mean()),
        concepts=_concepts(states, benign, odds, place, rng=rng),
        calibration=calibrate(states, benign, place, measured, rng=rng) if measured else None,
    )


def _asked(prompts: Sequence[Prompt] | None, *, n_prompts: int) -> dict[str, list[Prompt]]:
    """Return the prompts by concept, those of benign sets included."""
    if prompts is None:
        prompts = [p for name in (*CONCEPTS, *BENIGN) for p in bundled_prompts(name, split="train")]
    found: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        found.setdefault(prompt.concept, []).append(prompt)
    sizes = {name: len(own) for name, own in found.items()}
    harmful = [n for name, n in sizes.items() if name not in BENIGN]
    if len(harmful) < 2 or len(harmful) == len(sizes) or min(sizes.values()) < 2:
        raise DataError(
            f"forecast: prompts of {sizes}; give at least two of each of two concepts, and of "
            f"{' or '.join(BENIGN)}"
        )
    return {name: own[:n_prompts] for name, own in found.items()}


def _as_prompts(examples: Sequence[Example]) -> list[Prompt]:
    return [Prompt(id=e.id, prompt=e.prompt, concept=DATA) for e in examples]


def _prompt_states(
    loaded: "LoadedModel", prompts: Sequence[str], layer: int
) -> Float[Tensor, "1 prompt d_model"]:
    return collect_states(
        loaded.model,
        loaded.architecture,
        prompt_tokens(loaded.chat, prompts),
        pad_id=loaded.pad_id,
        layers=[layer],
    )


def _log_odds(
    loaded: "LoadedModel", asked: Mapping[str, Sequence[Prompt]]
) -> dict[str, Float[np.ndarray, " prompt"]]:
    """Log-odds of a refusal at the first token, by the tokens with which this model refuses."""
    first = {
        name: next_token_logprobs(
            loaded.model, [loaded.chat.prompt_ids(p.prompt) for p in own], pad_id=loaded.pad_id
        ).cpu()
        for name, own in asked.items()
    }
    harmful = [rows for name, rows in first.items() if name not in (*BENIGN, DATA)]
    benign = [rows for name, rows in first.items() if name in BENIGN]
    try:
        tokens = find_refusal_tokens(torch.cat(harmful), torch.cat(benign))
    except ValueError as error:
        raise DataError(
            f"forecast: {error}; a model that refuses nothing has none to lose"
        ) from error
    return {name: refusal_log_odds(rows, tokens) for name, rows in first.items()}


def _projection_differences(
    loaded: "LoadedModel",
    examples: Sequence[Example],
    asked: Mapping[str, Sequence[Prompt]],
    layer: int,
) -> Float[np.ndarray, " example"]:
    """Projection of each example's answer less that of the model's own, the gap being 1."""
    own = _own_answers(loaded, _as_prompts(examples))
    rows = [prompt for of in asked.values() for prompt in of]
    refusing = _own_answers(loaded, [prompt for prompt in rows if prompt.concept not in BENIGN])
    answering = _own_answers(loaded, [prompt for prompt in rows if prompt.concept in BENIGN])
    kept = [place for place, answer in enumerate(own) if answer.response]
    if len(kept) < _LEAST:
        raise DataError(
            f"forecast: the model itself answers only {len(kept)} of {len(own)} prompts of the "
            "data with any text, and there is nothing to compare with; check its chat template"
        )
    given = _answer_states(loaded, [examples[place] for place in kept], layer)
    mine = _answer_states(loaded, [own[place] for place in kept], layer)
    refused, answered = (
        _answer_states(loaded, [a for a in rows if a.response], layer).mean(dim=0)
        for rows in (refusing, answering)
    )
    direction = answered - refused
    gap = direction @ direction
    return np.asarray((((given - mine) @ direction) / gap).numpy())


def _own_answers(loaded: "LoadedModel", prompts: Sequence[Prompt]) -> list[Example]:
    from spillover.generation.hf import HFGenerator

    settings = GenerationSettings(max_new_tokens=_MAX_NEW_TOKENS)
    completions = HFGenerator(loaded, "model").generate(prompts, settings=settings)
    return [
        Example(id=c.id, prompt=c.prompt, response=c.response, concept=c.concept)
        for c in completions
    ]


def _answer_states(
    loaded: "LoadedModel", examples: Sequence[Example], layer: int
) -> Float[Tensor, "example d_model"]:
    """Mean states over the first tokens of answers, as many as the model's own have at most."""
    tokens = [
        ChatTokens(t.input_ids[: t.prompt_length + _MAX_NEW_TOKENS], t.prompt_length)
        for t in answer_tokens(loaded, examples)
    ]
    found = collect_states(
        loaded.model,
        loaded.architecture,
        tokens,
        pad_id=loaded.pad_id,
        at="response_mean",
        layers=[layer],
    )
    return found[0].double()


def _concepts(
    states: Mapping[str, Tensor],
    benign: Tensor,
    odds: Mapping[str, Float[np.ndarray, " prompt"]],
    layer: int,
    *,
    rng: np.random.Generator,
) -> tuple[ConceptForecast, ...]:
    found = _entangled(states, benign, layer)
    found = with_intervals(found, states, rng=rng, neutral=benign)
    found = with_null(found, states, rng=rng, neutral=benign)
    assert found.ci_low is not None
    assert found.ci_high is not None
    assert found.p is not None
    row = found.concepts.index(DATA)
    rows = []
    for column, concept in enumerate(found.concepts):
        if concept == DATA:
            continue
        interval = mean_interval(odds[concept].tolist())
        rows.append(
            ConceptForecast(
                concept=concept,
                entanglement=float(found.values[0, row, column]),
                entanglement_low=float(found.ci_low[0, row, column]),
                entanglement_high=float(found.ci_high[0, row, column]),
                p=float(found.p[0, row, column]),
                refusal_log_odds=float(odds[concept].mean()),
                refusal_low=interval.low,
                refusal_high=interval.high,
            )
        )
    return tuple(sorted(rows, key=lambda of: -of.entanglement))


def _entangled(states: Mapping[str, Tensor], benign: Tensor, layer: int) -> Entanglement:
    return entanglement(
        states, layers=[layer], method="mean_difference", centred=True, neutral=benign
    )


def calibrate(
    states: Mapping[str, Float[Tensor, "1 _ d_model"]],
    benign: Float[Tensor, "1 benign d_model"],
    layer: int,
    measured: Sequence[MeasuredErosion],
    *,
    rng: np.random.Generator,
) -> ForecastCalibration:
    """Ask how well the same entanglement foretold erosion that was measured.

    Args:
        states: Of each concept's prompts under the model that the unlearnings started from.
        benign: Of benign prompts.
        layer: Of the states.
        measured: Erosion of unlearnings whose targets are among the concepts; others are left out.
        rng: Source of relabellings and resamples.

    Raises:
        DataError: If too little was measured to say anything.
    """
    of_concepts = {name: own for name, own in states.items() if name != DATA}
    usable = [row for row in measured if row.target_concept in of_concepts]
    try:
        found = predict_erosion(
            _entangled(of_concepts, benign, layer), usable, rng=rng, absolute=False
        )
    except ValueError as error:
        raise DataError(f"forecast: the measured erosion gives no calibration: {error}") from error
    best, left_out = found.layers[0], found.left_out
    rho: Estimate | None = best.spearman
    return ForecastCalibration(
        n_interventions=found.n_interventions,
        n_targets=found.n_targets,
        n_pairs=found.n_pairs,
        spearman=None if rho is None else rho.value,
        spearman_low=None if rho is None else rho.ci_low,
        spearman_high=None if rho is None else rho.ci_high,
        p=best.p,
        error=None if left_out is None else left_out.nested.value,
        error_without=None if left_out is None else left_out.concept_mean.value,
    )
