"""A gate: which prompts are of one concept, told by a model's states before it answers.

A logistic regression over a few layers' states at the last prompt token, with the threshold at
which a wanted share of the concept's own prompts passes. What it opens is the caller's affair.
Conditional steering (2409.05907) asks a similar question of a single direction.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from safetensors.numpy import load_file, save_file

from spillover.errors import DataError

States = Float[np.ndarray, "layer prompt d_model"]

_FOLDS = 5
_STRENGTH = 0.01
"Inverse of the penalty, for standardised states; chosen on training prompts (docs/log.md)."


@dataclass(frozen=True, kw_only=True)
class StateGate:
    """Passes a prompt if its states, standardised, weighed and summed, reach the threshold."""

    layers: tuple[int, ...]
    mean: Float[np.ndarray, " value"]
    "Of the states it was learnt from, layers side by side."
    spread: Float[np.ndarray, " value"]
    weights: Float[np.ndarray, " value"]
    threshold: float
    false_pass: float
    "Share of the other prompts that pass, out of fold."

    def passes(self, states: States) -> Bool[np.ndarray, " prompt"]:
        """Return which prompts pass.

        Args:
            states: At the last prompt token, of the model and the layers it was learnt with.

        Raises:
            ValueError: If there are states of another number of layers.
        """
        if len(states) != len(self.layers):
            raise ValueError(
                f"states of {len(states)} layers for a gate of {len(self.layers)}; collect them at "
                f"layers {list(self.layers)}"
            )
        scores = (_side_by_side(states) - self.mean) / self.spread @ self.weights
        return np.asarray(scores >= self.threshold)


def learn_gate(
    states: States,
    is_target: Bool[np.ndarray, " prompt"],
    *,
    layers: tuple[int, ...],
    recall: float,
    rng: np.random.Generator,
) -> StateGate:
    """Learn which prompts are of the target.

    Both kinds weigh alike, whatever their numbers. The threshold is that of scores out of fold
    (five folds), so that about `recall` of new prompts of the target pass if they are like these.

    Args:
        states: At the last prompt token.
        is_target: Which of the prompts are of the target.
        layers: Where the states are from.
        recall: Share of the target's prompts that is to pass, in (0, 1).
        rng: Draws the folds.

    Raises:
        ValueError: If there are fewer than five prompts of either kind, states of other prompts,
            or `recall` is out of range.
    """
    if not 0 < recall < 1:
        raise ValueError(f"recall is {recall}; it must lie between 0 and 1")
    if states.shape[:2] != (len(layers), len(is_target)):
        raise ValueError(
            f"states of {states.shape[0]} layers and {states.shape[1]} prompts for {len(layers)} "
            f"and {len(is_target)}; give one state a layer and prompt"
        )
    fewest = int(min(is_target.sum(), (~is_target).sum()))
    if fewest < _FOLDS:
        raise ValueError(
            f"{fewest} prompt(s) of one kind; a gate is learnt from {_FOLDS} of each at least"
        )
    values = _side_by_side(states)
    scores = _out_of_fold(values, is_target, rng)
    mean, spread = _scale(values)
    weights, intercept = _fit((values - mean) / spread, is_target)
    reached = float(np.quantile(scores[is_target], 1 - recall))
    return StateGate(
        layers=layers,
        mean=mean,
        spread=spread,
        weights=weights,
        threshold=reached - intercept,
        false_pass=float((scores[~is_target] >= reached).mean()),
    )


def _out_of_fold(
    values: Float[np.ndarray, "prompt value"],
    is_target: Bool[np.ndarray, " prompt"],
    rng: np.random.Generator,
) -> Float[np.ndarray, " prompt"]:
    """Score each prompt by what was learnt from the other folds; folds share both kinds alike."""
    folds = np.zeros(len(values), dtype=np.int64)
    for kind in (True, False):
        own = np.flatnonzero(is_target == kind)
        folds[rng.permutation(own)] = np.arange(len(own)) % _FOLDS
    scores = np.zeros(len(values))
    for fold in range(_FOLDS):
        out = folds == fold
        mean, spread = _scale(values[~out])
        weights, intercept = _fit((values[~out] - mean) / spread, is_target[~out])
        scores[out] = (values[out] - mean) / spread @ weights + intercept
    return scores


def _fit(
    values: Float[np.ndarray, "prompt value"], is_target: Bool[np.ndarray, " prompt"]
) -> tuple[Float[np.ndarray, " value"], float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=_STRENGTH, max_iter=2_000, class_weight="balanced")
    model.fit(values, is_target)
    return np.asarray(model.coef_[0], dtype=np.float64), float(model.intercept_[0])


def _scale(
    values: Float[np.ndarray, "prompt value"],
) -> tuple[Float[np.ndarray, " value"], Float[np.ndarray, " value"]]:
    spread = values.std(axis=0)
    return values.mean(axis=0), np.where(spread > 0, spread, 1.0)


def _side_by_side(states: States) -> Float[np.ndarray, "prompt value"]:
    return np.concatenate(list(states), axis=1).astype(np.float64)


def save_gate(gate: StateGate, path: Path) -> None:
    """Write a gate as safetensors."""
    arrays = {name: np.asarray(getattr(gate, name)) for name in ("mean", "spread", "weights")}
    arrays |= {
        "layers": np.array(gate.layers, dtype=np.int64),
        "threshold": np.array([gate.threshold]),
        "false_pass": np.array([gate.false_pass]),
    }
    save_file(arrays, path)


def load_gate(path: Path) -> StateGate:
    """Read a gate.

    Raises:
        DataError: If the file is none.
    """
    try:
        found = load_file(path)
        return StateGate(
            layers=tuple(found["layers"].tolist()),
            mean=found["mean"],
            spread=found["spread"],
            weights=found["weights"],
            threshold=float(found["threshold"][0]),
            false_pass=float(found["false_pass"][0]),
        )
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: holds no gate ({error}); make the containment again") from error
