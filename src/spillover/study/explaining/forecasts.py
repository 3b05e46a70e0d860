"""What is said of a training before it: readings by concept, and how far they can be relied on.

Plain records; `forecasting` makes them.
"""

from dataclasses import dataclass

from spillover.records import Record


@dataclass(frozen=True, kw_only=True)
class ConceptForecast(Record):
    """What the readings say of one concept."""

    concept: str
    entanglement: float
    "Mean cosine of the data's direction with the concept's centred states, in [-1, 1]."
    entanglement_low: float
    entanglement_high: float
    "95%, over prompts."
    p: float
    "Two-sided, against prompts dealt out to data and concepts at random; each concept by itself."
    refusal_log_odds: float
    "Now, mean over the concept's prompts, in nats; near or below 0 there is little left to lose."
    refusal_low: float
    refusal_high: float


@dataclass(frozen=True, kw_only=True)
class ForecastCalibration(Record):
    """How well entanglement foretold erosion that was measured on this model."""

    n_interventions: int
    n_targets: int
    n_pairs: int
    spearman: float | None
    "Rank correlation of entanglement with erosion."
    spearman_low: float | None
    spearman_high: float | None
    p: float
    "By relabelling concepts."
    error: float | None
    "Mean absolute error on interventions left out, in refusal rate; None with fewer than three."
    error_without: float | None
    "The same from each concept's own mean, which knows nothing of entanglement."


@dataclass(frozen=True, kw_only=True)
class ErosionForecast(Record):
    """What the readings say of a training, before it."""

    n_examples: int
    layer: int
    projection_difference: float
    """Mean projection of the data's answers less that of the model's own answers to the same
    prompts, in units of the distance from its refusals (0) to its answers (1)."""
    projection_low: float
    projection_high: float
    "95%, over examples."
    refused_prompts: float
    "Share of the data's prompts that the model is more likely than not to begin to refuse."
    concepts: tuple[ConceptForecast, ...]
    "Most entangled first."
    calibration: ForecastCalibration | None
    "None where no erosion was measured on this model: then no number here is one of refusals."
