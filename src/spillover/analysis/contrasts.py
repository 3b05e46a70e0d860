"""Turns two sets of texts into the states that a direction is the difference of, and resamples it.

A direction is a weighted mean of states of one kind less that of another. Kept example by example,
its states give its sampling error (a bootstrap) and what it would be if the two kinds meant nothing
(labels shuffled). Costs 4 bytes x layers x examples x d_model. Knows nothing of what the kinds are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from spillover.analysis.resamples import example_counts
from spillover.analysis.states import Position, chosen_layers, collect_states, reduce_layers
from spillover.models.batches import TokenBatch, batches_by_length, pad_batch
from spillover.models.chat import ChatTokens
from spillover.models.hooks import Site
from spillover.models.loading import LoadedModel

_NORM_EXAMPLES = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Contrast:
    """States of two kinds of text under one model."""

    layers: tuple[int, ...]
    site: Site
    positive: Float[Tensor, "layer positive d_model"]
    "Of the kind that the direction points to."
    negative: Float[Tensor, "layer negative d_model"]
    positive_weights: Float[Tensor, " positive"]
    "How much each example counts: its number of tokens where means are over tokens."
    negative_weights: Float[Tensor, " negative"]
    activation_norms: Float[Tensor, " layer"]
    is_paired: bool
    "Whether example i of both kinds belong together, such as two answers to one prompt."

    @property
    def n_positive(self) -> int:
        """Number of examples of the kind that the direction points to."""
        return self.positive.shape[1]


def collect_contrast(
    loaded: LoadedModel,
    positive: Sequence[ChatTokens],
    negative: Sequence[ChatTokens],
    *,
    at: Position = "response_mean",
    site: Site = "resid_post",
    layers: Sequence[int] | None = None,
    is_paired: bool = False,
    batch_size: int = 16,
) -> Contrast:
    """Read two kinds of text with one model.

    Args:
        loaded: The model; what is hooked or adapted on it takes effect.
        positive: Texts of the kind that the direction is to point to.
        negative: Texts of the other kind.
        at: The state taken of each text. With `response_mean` an example weighs as many tokens as
            its response has, so that the difference is one of means over all response tokens
            (2506.11618); else all weigh the same.
        site: Where in the layer.
        layers: Layer indices from 0; None for all.
        is_paired: The two lists belong together one by one.
        batch_size: Texts in a forward pass.

    Raises:
        ValueError: If a list is empty, a text has no token to take the state of, or paired lists
            differ in length.
    """
    if is_paired and len(positive) != len(negative):
        raise ValueError(f"{len(positive)} and {len(negative)} texts cannot be paired one by one")
    chosen = chosen_layers(loaded.architecture, layers)
    states = [
        collect_states(
            loaded.model,
            loaded.architecture,
            examples,
            pad_id=loaded.pad_id,
            at=at,
            site=site,
            layers=chosen,
            batch_size=batch_size,
        )
        for examples in (positive, negative)
    ]
    weights = [_weights(examples, at) for examples in (positive, negative)]
    half = _NORM_EXAMPLES // 2
    return Contrast(
        layers=chosen,
        site=site,
        positive=states[0],
        negative=states[1],
        positive_weights=weights[0],
        negative_weights=weights[1],
        activation_norms=mean_activation_norms(
            loaded,
            [*positive[:half], *negative[:half]],
            site=site,
            layers=chosen,
            batch_size=batch_size,
        ),
        is_paired=is_paired,
    )


def _weights(examples: Sequence[ChatTokens], at: Position) -> Float[Tensor, " example"]:
    lengths = [e.response_length if at == "response_mean" else 1 for e in examples]
    return torch.tensor(lengths, dtype=torch.float64)


def mean_activation_norms(
    loaded: LoadedModel,
    examples: Sequence[ChatTokens],
    *,
    site: Site = "resid_post",
    layers: Sequence[int] | None = None,
    batch_size: int = 16,
) -> Float[Tensor, " layer"]:
    """Mean length of the activations at every layer, in float64: the unit of strengths.

    Over all tokens but the first of each text, whose state is many times longer in most models and
    says nothing of the text (massive activations, 2402.17762).

    Args:
        loaded: The model.
        examples: Texts, prompts or whole exchanges, of at least two tokens.
        site: Where in the layer.
        layers: Layer indices from 0; None for all.
        batch_size: Texts in a forward pass.

    Raises:
        ValueError: If there are no texts of at least two tokens.
    """
    shown = [example for example in examples if len(example.input_ids) > 1]
    if not shown:
        raise ValueError("no texts of at least two tokens; a mean activation norm needs one")
    chosen = chosen_layers(loaded.architecture, layers)
    total, n = torch.zeros(len(chosen), dtype=torch.float64), 0
    for indices in batches_by_length([len(e.input_ids) for e in shown], batch_size=batch_size):
        batch = pad_batch([shown[i] for i in indices], pad_id=loaded.pad_id).to(loaded.device)
        counted = _after_the_first(batch)
        sums = reduce_layers(
            loaded.model,
            loaded.architecture,
            batch,
            partial(_sum_of_norms, counted),
            site=site,
            layers=chosen,
        )
        total += torch.stack(sums).double().cpu()
        n += int(counted.sum())
    return total / n


def _sum_of_norms(
    counted: Bool[Tensor, "batch token"], _place: int, states: Float[Tensor, "batch token d_model"]
) -> Float[Tensor, ""]:
    norms: Tensor = torch.linalg.vector_norm(states[counted].float(), dim=-1)
    return norms.sum()


def _after_the_first(batch: TokenBatch) -> Tensor:
    """True at real tokens other than the first of their row."""
    return batch.attention_mask.bool() & (batch.attention_mask.cumsum(dim=1) > 1)


def halves(contrast: Contrast) -> tuple[Contrast, Contrast]:
    """Split a contrast in two: every other example of each kind, pairs kept together.

    One half gives a direction and the other is looked at along it.
    """
    first, second = (
        replace(
            contrast,
            positive=contrast.positive[:, start::2],
            negative=contrast.negative[:, start::2],
            positive_weights=contrast.positive_weights[start::2],
            negative_weights=contrast.negative_weights[start::2],
        )
        for start in (0, 1)
    )
    return first, second


def spared(contrast: Contrast, axes: Float[Tensor, "layer d_model"]) -> Contrast:
    """Take what lies along one axis a layer out of all states.

    For the long state of the first token, along which a difference of means has a part that breaks
    a model when it is ablated (`refusal_candidates`).
    """
    unit = torch.nn.functional.normalize(axes.double(), dim=-1)[:, None]

    def rest(states: Float[Tensor, "layer example d_model"]) -> Tensor:
        exact = states.double()
        return (exact - (exact * unit).sum(dim=-1, keepdim=True) * unit).float()

    return replace(contrast, positive=rest(contrast.positive), negative=rest(contrast.negative))


def difference(contrast: Contrast) -> Float[Tensor, "layer d_model"]:
    """Mean of the positive states less mean of the negative ones, in float64."""
    return _weighted(contrast, _coefficients(contrast)[None])[0]


def _coefficients(contrast: Contrast) -> Float[Tensor, " example"]:
    """What each example, the positive ones first, counts in the difference."""
    positive, negative = contrast.positive_weights, contrast.negative_weights
    return torch.cat([positive / positive.sum(), -negative / negative.sum()])


def _weighted(
    contrast: Contrast, coefficients: Float[Tensor, "draw example"]
) -> Float[Tensor, "draw layer d_model"]:
    n = contrast.n_positive
    # Layer by layer, so that no more than one is held in float64.
    rows = [
        coefficients[:, :n] @ p.double() + coefficients[:, n:] @ q.double()
        for p, q in zip(contrast.positive, contrast.negative, strict=True)
    ]
    return torch.stack(rows, dim=1)


def resample_coefficients(
    contrast: Contrast, *, n_resamples: int, rng: np.random.Generator
) -> Float[Tensor, "draw example"]:
    """Coefficients of the difference in bootstrap resamples of the examples, pairs kept together.

    Raises:
        ValueError: If a kind has fewer than two examples.
    """
    n = (contrast.n_positive, contrast.negative.shape[1])
    first = example_counts(n[0], n_resamples=n_resamples, rng=rng)
    second = first if contrast.is_paired else example_counts(n[1], n_resamples=n_resamples, rng=rng)
    return _signed(
        torch.from_numpy(first) * contrast.positive_weights,
        torch.from_numpy(second) * contrast.negative_weights,
    )


def shuffle_coefficients(
    contrast: Contrast, *, n_shuffles: int, rng: np.random.Generator
) -> Float[Tensor, "draw example"]:
    """Coefficients of the difference with the kinds shuffled: within pairs, or among all."""
    n, n_all = contrast.n_positive, contrast.n_positive + contrast.negative.shape[1]
    is_positive: NDArray[np.bool_] = np.zeros((n_shuffles, n_all), dtype=bool)
    if contrast.is_paired:
        kept = rng.random((n_shuffles, n)) < 0.5
        is_positive[:, :n], is_positive[:, n:] = kept, ~kept
    else:
        places = np.argsort(rng.random((n_shuffles, n_all)), axis=1)[:, :n]
        np.put_along_axis(is_positive, places, True, axis=1)
    weights = torch.cat([contrast.positive_weights, contrast.negative_weights])
    mask = torch.from_numpy(is_positive)
    above, below = weights * mask, weights * ~mask
    return above / above.sum(dim=1, keepdim=True) - below / below.sum(dim=1, keepdim=True)


def _signed(
    positive: Float[Tensor, "draw positive"], negative: Float[Tensor, "draw negative"]
) -> Float[Tensor, "draw example"]:
    shares = [part / part.sum(dim=1, keepdim=True) for part in (positive, negative)]
    return torch.cat([shares[0], -shares[1]], dim=1)


def drawn_differences(
    contrast: Contrast, coefficients: Float[Tensor, "draw example"]
) -> Float[Tensor, "draw layer d_model"]:
    """The difference under each row of coefficients, in float64.

    The same rows for two contrasts of the same texts under two models keep what the texts share.

    Raises:
        ValueError: If a row has not one number for each example.
    """
    n = contrast.n_positive + contrast.negative.shape[1]
    if coefficients.shape[1] != n:
        raise ValueError(f"{coefficients.shape[1]} coefficients for {n} examples; give one each")
    return _weighted(contrast, coefficients)
