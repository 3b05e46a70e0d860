"""From readouts of all concepts and layers to one claim about the shared component."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from spillover.analysis.estimates import Estimate, bootstrap_estimate
from spillover.analysis.nulls import max_statistic_p
from spillover.analysis.resamples import example_counts
from spillover.analysis.shared_components import EditedReadouts
from spillover.report.explanations import Claim, outcome_above

_NOTHING = 1e-6
"Nats."


def component_claim(
    readouts: Sequence[EditedReadouts], *, last_layer: int, rng: np.random.Generator
) -> Claim | None:
    """Say whether restoring the shared component takes erosion away, where it takes most.

    Falls are averaged over concepts. Each layer's is divided by the spread of its random changes,
    and the largest over layers is held against the largest of each draw, so that having looked at
    all layers is paid for. After the last layer the state goes straight into the logits, and any
    edit that is not orthogonal to them moves the readout; so that layer is left out.

    None where no other layer was read, or tuning changed none.

    Args:
        readouts: Of every concept and layer.
        last_layer: The model's last layer.
        rng: Source of the resamples, of prompts within concepts.
    """
    layers = [i for i in dict.fromkeys(of.layer for of in readouts) if i != last_layer]
    falls = np.array([_mean_fall(readouts, layer) for layer in layers])
    if not layers:
        return None
    controls = np.stack([_control_falls(readouts, layer) for layer in layers], axis=1)
    spread = controls.std(axis=0, ddof=1)
    is_moved = spread > _NOTHING  # Where tuning changed nothing there is nothing to restore.
    if not is_moved.any():
        return None
    layers = [layer for layer, moved in zip(layers, is_moved, strict=True) if moved]
    scaled, drawn = falls[is_moved] / spread[is_moved], controls[:, is_moved] / spread[is_moved]
    best = int(scaled.argmax())
    p = float(max_statistic_p(scaled, drawn)[best])
    chosen = [of for of in readouts if of.layer == layers[best]]
    found = _mean_over_concepts([_falls(of) for of in chosen], rng=rng)
    erosion = _mean_over_concepts([of.aligned - of.tuned for of in chosen], rng=rng)
    low, high = controls[:, is_moved][:, best].min(), controls[:, is_moved][:, best].max()
    return Claim(
        source="2511.14017, R3 (its open question)",
        claim="What concepts share with the target carries their erosion",
        measured=f"of {erosion.value:.2f} nats of erosion [{erosion.ci_low:.2f}, "
        f"{erosion.ci_high:.2f}], taken away by restoring the shared component at layer "
        f"{layers[best]}, where it does most",
        value=found.value,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        p=p,
        null=f"{len(controls)} random changes of the same length, {low:.2f} to {high:.2f} there; p "
        f"is corrected for {len(layers)} layers",
        outcome=outcome_above(found.ci_low, found.ci_high, p=p),
    )


def _falls(of: EditedReadouts) -> Float[np.ndarray, " prompt"]:
    return np.asarray(of.aligned - of.tuned - of.edited["shared"])


def _mean_fall(readouts: Sequence[EditedReadouts], layer: int) -> float:
    return float(np.mean([_falls(of).mean() for of in readouts if of.layer == layer]))


def _control_falls(readouts: Sequence[EditedReadouts], layer: int) -> Float[np.ndarray, " draw"]:
    rows = [(o.aligned - o.tuned - o.control).mean(axis=1) for o in readouts if o.layer == layer]
    return np.asarray(np.mean(rows, axis=0))


def _mean_over_concepts(
    values: Sequence[Float[np.ndarray, " _"]], *, rng: np.random.Generator
) -> Estimate:
    """Mean over concepts of the mean over prompts."""
    draws = [example_counts(len(v), n_resamples=2000, rng=rng) @ v / len(v) for v in values]
    mean = float(np.mean([v.mean() for v in values]))
    return bootstrap_estimate(mean, np.mean(draws, axis=0), level=0.95)
