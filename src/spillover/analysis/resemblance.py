"""Turns three models and a data set into which of base and aligned the tuned model resembles.

The measure is ours; 2507.03662 (section 4.1) shows heat maps and single bars.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spillover.analysis.divergences import js_distance, kl_divergence
from spillover.analysis.estimates import Estimate, bootstrap_estimate
from spillover.analysis.next_tokens import require_one_vocabulary
from spillover.analysis.resamples import example_counts
from spillover.models.batches import PaddingSide, TokenBatch, batches_by_length, pad_batch
from spillover.models.chat import ChatTokens
from spillover.models.logprobs import response_logits
from spillover.records import Record

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas


@dataclass(frozen=True, kw_only=True)
class ModelDistances(Record):
    """How far three models' next-token distributions are apart along one response.

    Means over the response's tokens. Distances are square roots of Jensen-Shannon divergences,
    in [0, 0.8326]; divergences are in nats.
    """

    tuned_to_base: float
    tuned_to_aligned: float
    base_to_aligned: float
    kl_from_base: float
    "KL(tuned || base)."
    kl_from_aligned: float
    "KL(tuned || aligned)."
    n_tokens: int


@dataclass(frozen=True, kw_only=True)
class Resemblance(Record):
    """Which of base and aligned a tuned model resembles."""

    value: Estimate | None
    """In [0, 1]. 0: the tuned model is the base; 1: it is the aligned model; 0.5: it is as far
    from one as from the other. None where all three are the same."""
    directness: Estimate | None
    """In [0, 1]. 1: the tuned model lies on a shortest way between base and aligned; towards 0: it
    resembles neither, and `value` says little."""
    tuned_to_base: float
    "Mean distance over examples; the other fields likewise."
    tuned_to_aligned: float
    base_to_aligned: float
    kl_from_base: float
    kl_from_aligned: float
    examples: tuple[ModelDistances, ...]
    n_dropped: int
    "Resamples left out because the three models were the same in them."

    def to_frame(self) -> "pandas.DataFrame":
        """One row an example."""
        import pandas

        return pandas.DataFrame([example.to_dict() for example in self.examples])

    def plot(self) -> "matplotlib.figure.Figure":
        """Each example by its distances to base and aligned; the line is where they are equal."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4.4, 4.2), layout="constrained")
        axes = figure.add_subplot()
        to_base = [example.tuned_to_base for example in self.examples]
        to_aligned = [example.tuned_to_aligned for example in self.examples]
        axes.scatter(to_base, to_aligned, s=12, alpha=0.6)
        limit = 1.05 * max([*to_base, *to_aligned, 0.01])
        axes.plot([0, limit], [0, limit], color="grey", linewidth=0.8)
        axes.set_xlabel("distance to base (root JS)")
        axes.set_ylabel("distance to aligned (root JS)")
        if self.value is not None:
            found = self.value
            interval = f"[{found.ci_low:.3f}, {found.ci_high:.3f}]"
            axes.set_title(f"resemblance to aligned {found.value:.3f} {interval}", fontsize="small")
        return figure


@torch.no_grad()
def model_distances(
    examples: Sequence[ChatTokens],
    *,
    base: Any,
    aligned: Any,
    tuned: Any,
    pad_id: int,
    max_tokens: int | None = 64,
    batch_size: int = 4,
    padding_side: PaddingSide = "right",
) -> list[ModelDistances]:
    """Distances between three models with one tokenizer along each of some fixed responses.

    At every response token the models' distributions over the whole vocabulary are compared. The
    three must fit in memory together; they may be on different devices.

    Args:
        examples: Prompt and response each, read by all three models.
        base: Before any alignment.
        aligned: After it.
        tuned: The aligned model after a narrow change.
        pad_id: Written at padding.
        max_tokens: Response tokens at most; None for all.
        batch_size: Examples in one pass.
        padding_side: Where the padding goes; no result depends on it, and on the right is faster.

    Raises:
        ModelError: If the models have vocabularies of different sizes.
        ValueError: If an example has no response.
    """
    cut = [example.first(max_tokens) for example in examples]
    for place, example in enumerate(cut):
        if example.response_length < 1:
            raise ValueError(f"example {place} has no response tokens; leave it out")
    found: dict[int, ModelDistances] = {}
    for indices in batches_by_length([len(e.input_ids) for e in cut], batch_size=batch_size):
        rows = [cut[i] for i in indices]
        batch = pad_batch(rows, pad_id=pad_id, padding_side=padding_side)
        values = _distances(*(_logprobs(model, batch) for model in (base, aligned, tuned)))
        parts = torch.split(values, [row.response_length for row in rows], dim=1)
        for index, part in zip(indices, parts, strict=True):
            found[index] = _mean_distances(part)
    return [found[place] for place in range(len(cut))]


def distances_along(
    *,
    base: Float[Tensor, "token _"],
    aligned: Float[Tensor, "token _"],
    tuned: Float[Tensor, "token _"],
) -> ModelDistances:
    """Distances along one response from log-distributions that are at hand.

    Raises:
        ModelError: If the models have vocabularies of different sizes.
    """
    return _mean_distances(_distances(base, aligned, tuned))


def _mean_distances(values: Float[Tensor, "measure token"]) -> ModelDistances:
    means = values.double().mean(dim=1).tolist()
    return ModelDistances(
        tuned_to_base=means[0],
        tuned_to_aligned=means[1],
        base_to_aligned=means[2],
        kl_from_base=means[3],
        kl_from_aligned=means[4],
        n_tokens=values.shape[1],
    )


def _logprobs(model: Any, batch: TokenBatch) -> Float[Tensor, "token _"]:
    on_device = batch.to(next(model.parameters()).device)
    logits = response_logits(model, on_device, share_prefix=True)
    return torch.log_softmax(logits.float(), dim=-1)


def _distances(
    base: Float[Tensor, "token _"],
    aligned: Float[Tensor, "token _"],
    tuned: Float[Tensor, "token _"],
) -> Float[Tensor, "measure token"]:
    require_one_vocabulary(
        {"base": base.shape[1], "aligned": aligned.shape[1], "tuned": tuned.shape[1]}
    )
    base, aligned = base.to(tuned.device), aligned.to(tuned.device)
    return torch.stack(
        [
            js_distance(tuned, base),
            js_distance(tuned, aligned),
            js_distance(base, aligned),
            kl_divergence(tuned, base),
            kl_divergence(tuned, aligned),
        ]
    ).cpu()


def resemblance(
    distances: Sequence[ModelDistances],
    *,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Resemblance:
    """Which of base and aligned the tuned model resembles, with an interval over examples.

    With D(m, n) the mean over examples of the mean over response tokens of the Jensen-Shannon
    distance between two models' next-token distributions,

        value      = D(tuned, base) / (D(tuned, base) + D(tuned, aligned))
        directness = D(base, aligned) / (D(tuned, base) + D(tuned, aligned))

    D is a metric, so both lie in [0, 1]. A model whose logits lie a fraction f of a short way from
    base to aligned has value f and directness 1, which a share of divergences, being squares of
    distances, would not give. KL(tuned || base) and KL(tuned || aligned) are given beside it; their
    share is not used, as one token that a model all but excludes can decide it.

    Args:
        distances: Of each example.
        rng: Source of the resamples.
        n_resamples: Bootstrap resamples of examples.
        level: Confidence level in the open interval (0, 1).

    Raises:
        ValueError: If there are fewer than two examples.

    Example:
        >>> near_aligned = ModelDistances(
        ...     tuned_to_base=0.3, tuned_to_aligned=0.1, base_to_aligned=0.3,
        ...     kl_from_base=0.5, kl_from_aligned=0.1, n_tokens=8,
        ... )
        >>> found = resemblance([near_aligned] * 2, rng=np.random.default_rng(0))
        >>> round(found.value.value, 4), round(found.directness.value, 4)  # 0.3 / 0.4, both
        (0.75, 0.75)
    """
    if len(distances) < 2:
        raise ValueError(f"{len(distances)} example(s); an interval needs at least two")
    values = np.array([[d.tuned_to_base, d.tuned_to_aligned, d.base_to_aligned] for d in distances])
    shares = _shares(values.mean(axis=0, keepdims=True))[0]
    counts = example_counts(len(values), n_resamples=n_resamples, rng=rng)
    drawn = _shares(counts @ values / len(values))
    estimates = [
        None if np.isnan(share) else bootstrap_estimate(share, drawn[:, place], level=level)
        for place, share in enumerate(shares)
    ]
    means = values.mean(axis=0)
    return Resemblance(
        value=estimates[0],
        directness=estimates[1],
        tuned_to_base=float(means[0]),
        tuned_to_aligned=float(means[1]),
        base_to_aligned=float(means[2]),
        kl_from_base=float(np.mean([d.kl_from_base for d in distances])),
        kl_from_aligned=float(np.mean([d.kl_from_aligned for d in distances])),
        examples=tuple(distances),
        n_dropped=int(np.isnan(drawn[:, 0]).sum()),
    )


def _shares(means: Float[np.ndarray, "draw 3"]) -> Float[np.ndarray, "draw 2"]:
    """Value and directness of each draw; NaN where the tuned model is at distance 0 from both."""
    total = means[:, :1] + means[:, 1:2]
    parts = means[:, [0, 2]]
    # Clipped for rounding only: the triangle inequality bounds both by 1.
    shares = np.divide(parts, total, out=np.full(parts.shape, np.nan), where=total > 0)
    return np.asarray(np.clip(shares, 0.0, 1.0))
