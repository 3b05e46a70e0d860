"""Turns a few numbers an answer into how well they tell two kinds of answers apart, with a null.

The probes of 2506.11618, section 5: what rank-1 adapters compute inside of them, read by a sparse
logistic regression. Knows neither adapters nor models. Departures from the paper:

1. One row an answer, the mean over its tokens, where the paper does not say what a row is.
2. Folds are of whole prompts, as answers to one prompt resemble each other; 100 random 80/20 splits
   there.
3. The area under the ROC curve has an interval over prompts, and a permutation null.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from spillover.analysis.estimates import Estimate, bootstrap_estimate
from spillover.analysis.nulls import permutation_p
from spillover.analysis.separability import area_under_roc
from spillover.records import Record

Features = Float[np.ndarray, "answer feature"]
Labels = Bool[np.ndarray, " answer"]


@dataclass(frozen=True, kw_only=True)
class ScalarProbe(Record):
    """How well some numbers tell answers with a label from those without."""

    label: str
    auc: Estimate
    "Of answers that the probe was not fitted on, in [0, 1]; the interval is over prompts."
    p: float
    "P(labels dealt out anew give as large an area); one-sided."
    coefficients: tuple[float, ...]
    "Of a probe fitted on all answers, for each feature in standard deviations; 0 is left out."
    single: tuple[float, ...]
    "Area of each feature by itself, its sign as it is: below 0.5 it is smaller with the label."
    n_with: int
    n_without: int
    n_groups: int


def scalar_probe(
    features: Features,
    labels: Labels,
    groups: Sequence[str],
    *,
    label: str,
    rng: np.random.Generator,
    c: float = 0.1,
    n_folds: int = 5,
    n_permutations: int = 99,
    n_resamples: int = 1000,
) -> ScalarProbe:
    """Fit sparse logistic regressions and test them on prompts that they have not seen.

    Args:
        features: One row an answer, for instance the mean of A x of every adapter.
        labels: Whether an answer has the label.
        groups: The prompt that each answer is to.
        label: What the label means.
        rng: Deals out prompts, permutes labels, resamples.
        c: Inverse strength of the L1 penalty on z-scored features; 0.01 in the paper, which leaves
            nothing of a few hundred answers.
        n_folds: Of the cross-validation.
        n_permutations: For p.
        n_resamples: For the interval.

    Raises:
        ValueError: If there are too few prompts for the folds, or too few answers of one kind.
    """
    places = np.unique(np.asarray(groups), return_inverse=True)[1]
    n_groups = int(places.max()) + 1 if len(places) else 0
    if n_groups < n_folds or min(labels.sum(), (~labels).sum()) < n_folds or n_folds < 2:
        raise ValueError(
            f"{label}: {n_groups} prompts, {int(labels.sum())} answers with and "
            f"{int((~labels).sum())} without it, for {n_folds} folds; give as many of each at least"
        )
    folds = rng.permutation(n_groups)[places] % n_folds
    scores = _held_out_scores(features, labels, folds, c)
    observed = area_under_roc(scores[labels], scores[~labels])
    drawn = np.array(
        [_permuted_auc(features, labels, places, folds, c, rng) for _ in range(n_permutations)]
    )
    return ScalarProbe(
        label=label,
        auc=_with_interval(observed, scores, labels, places, rng=rng, n_resamples=n_resamples),
        p=float(permutation_p(observed, drawn, alternative="greater")),
        coefficients=tuple(_fitted(features, labels, c)[0].tolist()),
        single=tuple(area_under_roc(x[labels], x[~labels]) for x in features.T),
        n_with=int(labels.sum()),
        n_without=int((~labels).sum()),
        n_groups=n_groups,
    )


def _fitted(features: Features, labels: Labels, c: float) -> tuple[NDArray[np.float64], float]:
    """Return the coefficients and the intercept for z-scored features."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=c, l1_ratio=1, solver="liblinear", class_weight="balanced", random_state=0
    )
    model.fit(_standardised(features, features), labels)
    return np.asarray(model.coef_[0]), float(model.intercept_[0])


def _standardised(features: Features, like: Float[np.ndarray, "_ feature"]) -> Features:
    spread = like.std(axis=0)
    return np.asarray((features - like.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def _held_out_scores(
    features: Features, labels: Labels, folds: Int[np.ndarray, " answer"], c: float
) -> Float[np.ndarray, " answer"]:
    """Score each answer by a probe fitted on the other folds; a fold of one label gets the prior.

    Scores are put on ranks within each fold, so that folds' intercepts do not matter.
    """
    scores = np.zeros(len(labels))
    for fold in np.unique(folds):
        out = folds == fold
        if labels[~out].all() or not labels[~out].any():
            scores[out] = 0.5
            continue
        weights, _ = _fitted(features[~out], labels[~out], c)
        raw = _standardised(features[out], features[~out]) @ weights
        scores[out] = np.array([area_under_roc(np.array([value]), raw) for value in raw])
    return scores


def _permuted_auc(
    features: Features,
    labels: Labels,
    places: Int[np.ndarray, " answer"],
    folds: Int[np.ndarray, " answer"],
    c: float,
    rng: np.random.Generator,
) -> float:
    """Deal labels out anew: within prompts that have both, else from prompt to prompt."""
    dealt = _dealt(labels, places, rng)
    scores = _held_out_scores(features, dealt, folds, c)
    return area_under_roc(scores[dealt], scores[~dealt])


def _dealt(labels: Labels, places: Int[np.ndarray, " answer"], rng: np.random.Generator) -> Labels:
    rows = [np.flatnonzero(places == group) for group in np.unique(places)]
    if any(labels[own].any() and not labels[own].all() for own in rows):
        dealt = labels.copy()
        for own in rows:
            dealt[own] = labels[rng.permutation(own)]
        return dealt
    by_group = np.array([labels[own[0]] for own in rows])
    return np.asarray(rng.permutation(by_group)[places])


def _with_interval(
    observed: float,
    scores: Float[np.ndarray, " answer"],
    labels: Labels,
    places: Int[np.ndarray, " answer"],
    *,
    rng: np.random.Generator,
    n_resamples: int,
) -> Estimate:
    rows = [np.flatnonzero(places == group) for group in np.unique(places)]
    drawn = np.full(n_resamples, np.nan)
    for i in range(n_resamples):
        chosen = np.concatenate([rows[j] for j in rng.integers(len(rows), size=len(rows))])
        own = labels[chosen]
        if own.any() and not own.all():
            drawn[i] = area_under_roc(scores[chosen][own], scores[chosen][~own])
    return bootstrap_estimate(observed, drawn, level=0.95)
