"""Turns log-probabilities of responses into bits a token, and changes of these into their ratio.

The compression rates of Language Models Resist Alignment (2406.06144). Knows nothing of what models
were trained on.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from spillover.analysis.estimates import Estimate, bootstrap_estimate
from spillover.analysis.resamples import example_counts
from spillover.records import Record

Responses = Float[np.ndarray, " response"]


def bits_per_token(logprobs: Responses, n_tokens: Responses) -> float:
    """Compression rate of responses by a model: bits that it needs for a token.

        gamma = - sum log p / (ln 2 * sum of tokens)

    The code length of an ideal coder. The paper prunes a tree of all responses and codes it with
    Huffman's code; its gamma, too, is the training loss up to a constant.

    Args:
        logprobs: Of each response, summed over its tokens, in nats.
        n_tokens: Of each response.

    Raises:
        ValueError: If there are no tokens.

    Example:
        >>> bits_per_token(np.log([0.25, 0.5]), np.array([1.0, 2.0]))  # (2 + 1) bits / 3 tokens
        1.0
    """
    if n_tokens.sum() <= 0:
        raise ValueError("no response tokens; give responses of at least one token")
    return float(-logprobs.sum() / (math.log(2) * n_tokens.sum()))


@dataclass(frozen=True, kw_only=True)
class CompressionChange(Record):
    """How many more bits a token a model needs for some data than another model does."""

    before: float
    after: float
    change: Estimate
    "After minus before, in bits a token, with an interval over responses."
    n_responses: int
    draws: tuple[float, ...] = ()


def compression_change(
    before: Responses,
    after: Responses,
    n_tokens: Responses,
    *,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> CompressionChange:
    """Change of the compression rate of the same responses from one model to another.

    Args:
        before: Log-probability of each response under the first model, in nats.
        after: The same under the second.
        n_tokens: Of each response.
        rng: Resamples responses.
        n_resamples: Bootstrap resamples.
        level: Confidence level.

    Raises:
        ValueError: If there are fewer than two responses.
    """
    counts = example_counts(len(before), n_resamples=n_resamples, rng=rng)
    drawn = -(counts @ (after - before)) / (math.log(2) * (counts @ n_tokens))
    first, second = (bits_per_token(values, n_tokens) for values in (before, after))
    return CompressionChange(
        before=first,
        after=second,
        change=bootstrap_estimate(second - first, drawn, level=level),
        n_responses=len(before),
        draws=tuple(drawn.tolist()),
    )


@dataclass(frozen=True, kw_only=True)
class ChangeRatio(Record):
    """The ratio of two changes of compression beside that of the sizes of their data."""

    measured: float | None
    "- change on alignment data / change on pre-training data; None where the latter may be 0."
    ci_low: float | None
    ci_high: float | None
    predicted: float
    "k = pre-training tokens / alignment tokens, up to a constant that the theory leaves open."


def change_ratio(
    pretraining: CompressionChange,
    alignment: CompressionChange,
    *,
    pretraining_tokens: float,
    alignment_tokens: float,
    level: float = 0.95,
) -> ChangeRatio:
    """Compare how far two data sets' compression moved with the sizes of the sets: theorem 4.2.

        d gamma(alignment) / dl = Theta(- k d gamma(pre-training) / dl),  k = |D_p| / |D_a|

    l is the size of a further, perturbing data set. Theta hides a constant, so that only the growth
    of the ratio with k could be tested; one model shows one ratio. The pre-training data of most
    models are not at hand; a proxy stands for them.

    Args:
        pretraining: Before and after the perturbation, on the proxy.
        alignment: The same on alignment data.
        pretraining_tokens: Size of the pre-training data.
        alignment_tokens: Size of the alignment data.
        level: Confidence level.

    Raises:
        ValueError: If a size is not positive.
    """
    if pretraining_tokens <= 0 or alignment_tokens <= 0:
        raise ValueError(
            f"{pretraining_tokens} and {alignment_tokens} tokens; give positive sizes of both sets"
        )
    predicted = pretraining_tokens / alignment_tokens
    below = pretraining.change
    if below.ci_low <= 0 <= below.ci_high:
        return ChangeRatio(measured=None, ci_low=None, ci_high=None, predicted=predicted)
    n = min(len(pretraining.draws), len(alignment.draws))
    drawn = -np.array(alignment.draws[:n]) / np.array(pretraining.draws[:n])
    value = -alignment.change.value / below.value
    found = bootstrap_estimate(value, drawn, level=level)
    return ChangeRatio(
        measured=found.value, ci_low=found.ci_low, ci_high=found.ci_high, predicted=predicted
    )
