"""Turns losses, distances and scores of trained models into resistance and rebound.

The measures of Language Models Resist Alignment (2406.06144). Formulas only: what is trained on
what is the caller's. The paper's text was at hand in notes; where they leave a definition open, the
docstring says what is taken here. Departures:

1. A loss is that of the trained model on all it was trained on, not of the last batch.
2. Forward and inverse training have different targets; `corrected` takes off what the targets'
   own author needs for them, their entropy.
3. Everything is over seeds, with the seed as the unit; the paper has one run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spillover.records import Record
from spillover.stats import SeedDifference, seed_difference
from spillover.stats.segments import Knee, first_crossing, two_segment_fit


@dataclass(frozen=True, kw_only=True)
class Retraining(Record):
    """One slice's model trained on what another slice's model says."""

    loss: float
    "Of the trained model on what it was trained on, nats a token."
    entropy: float
    "The same of the model that said it: what no model can be expected to undercut."
    kl: float
    "KL(model before || model after) on it, nats a token: how far the model had to move."


@dataclass(frozen=True, kw_only=True)
class ResistanceCell(Record):
    """Forward and inverse training between two slices of one run."""

    seed: int
    early: int
    "Slice from which forward training starts, from 1."
    late: int
    forward: Retraining
    "The early model trained on the late model's answers."
    inverse: Retraining
    "The late model trained on the early model's answers."

    @property
    def raw(self) -> float:
        """R = forward loss - inverse loss, nats a token; positive is resistance."""
        return self.forward.loss - self.inverse.loss

    @property
    def corrected(self) -> float:
        """The same of the losses above the targets' own entropies.

        Example:
            >>> cell = ResistanceCell(
            ...     seed=0, early=1, late=2,
            ...     forward=Retraining(loss=0.9, entropy=0.6, kl=0.2),
            ...     inverse=Retraining(loss=0.7, entropy=0.5, kl=0.1),
            ... )
            >>> round(cell.raw, 6), round(cell.corrected, 6)  # (0.9 - 0.6) - (0.7 - 0.5)
            (0.2, 0.1)
        """
        forward, inverse = self.forward, self.inverse
        return (forward.loss - forward.entropy) - (inverse.loss - inverse.entropy)

    @property
    def moved(self) -> float:
        """Forward KL - inverse KL: how much further the model had to move forwards."""
        return self.forward.kl - self.inverse.kl


@dataclass(frozen=True, kw_only=True)
class Resistance(Record):
    """Whether going back is easier than going on, over slices and seeds."""

    raw: SeedDifference
    "Forward minus inverse loss, the mean over pairs of slices; the seed is the unit."
    corrected: SeedDifference
    moved: SeedDifference
    "Of the KL that training costs."
    n_positive: int
    "Cells with a positive raw difference: the paper's count, 27 of 27."
    n_positive_corrected: int
    n_cells: int


def resistance(cells: Sequence[ResistanceCell]) -> Resistance:
    """Sum up forward and inverse trainings: 2406.06144, section 4.1 and its table 1.

    The cells of one seed share their models, so they are averaged before seeds are compared.

    Args:
        cells: The same pairs of slices for each seed.

    Raises:
        ValueError: If there are fewer than two seeds, or seeds have different pairs.
    """
    by_seed: dict[int, list[ResistanceCell]] = {}
    for cell in cells:
        by_seed.setdefault(cell.seed, []).append(cell)
    pairs = {tuple(sorted((c.early, c.late) for c in own)) for own in by_seed.values()}
    if len(by_seed) < 2 or len(pairs) > 1:
        raise ValueError(
            f"{len(by_seed)} seeds with {len(pairs)} different sets of slices; give at least two "
            "seeds, each with the same pairs"
        )

    def over_seeds(name: str) -> SeedDifference:
        means = [float(np.mean([getattr(c, name) for c in own])) for own in by_seed.values()]
        return seed_difference([0.0] * len(means), means)

    return Resistance(
        raw=over_seeds("raw"),
        corrected=over_seeds("corrected"),
        moved=over_seeds("moved"),
        n_positive=sum(cell.raw > 0 for cell in cells),
        n_positive_corrected=sum(cell.corrected > 0 for cell in cells),
        n_cells=len(cells),
    )


@dataclass(frozen=True, kw_only=True)
class ReboundCurve(Record):
    """A model trained on some positive examples, and then on more and more negative ones."""

    seed: int
    n_positive: int
    n_negative: tuple[int, ...]
    "Negative examples seen, from 0, ascending."
    score: tuple[float, ...]
    "How positive the model is; the paper's is a classifier's, in [0, 1]."
    distance: tuple[float, ...]
    "KL between the model and the base, nats a token."


@dataclass(frozen=True, kw_only=True)
class Rebound(Record):
    """How fast one model goes back."""

    seed: int
    n_positive: int
    knee: Knee
    "Two straight pieces through the score: the paper's fast fall and plateau."
    distance_knee: Knee
    examples_to_threshold: float | None
    "Negative examples until the distance is below the threshold; None if it never was."
    threshold: float
    start_score: float
    fall: float
    "Score lost over all negative examples; unlike a slope before the knee, it needs no knee."
    start_distance: float
    lowest_distance: float
    "Smallest on the way; training on past the base leads away from it again."


def rebound(
    curve: ReboundCurve,
    *,
    threshold: float = 0.01,
    rng: np.random.Generator | None = None,
) -> Rebound:
    """Describe one curve: 2406.06144, section 4.2, and table 3 for the examples to a threshold.

    Args:
        curve: At least four numbers of negative examples.
        threshold: KL to the base in nats a token; 0.01 in the paper.
        rng: For the p-values of the knees; None for none.

    Raises:
        ValueError: If there are too few points.
    """
    n = np.array(curve.n_negative, dtype=np.float64)
    score, distance = np.array(curve.score), np.array(curve.distance)
    return Rebound(
        seed=curve.seed,
        n_positive=curve.n_positive,
        knee=two_segment_fit(n, score, rng=rng),
        distance_knee=two_segment_fit(n, distance, rng=rng),
        examples_to_threshold=first_crossing(n, distance, threshold=threshold),
        threshold=threshold,
        start_score=float(score[0]),
        fall=float(score[0] - score[-1]),
        start_distance=float(distance[0]),
        lowest_distance=float(distance.min()),
    )


@dataclass(frozen=True, kw_only=True)
class ReboundGrowth(Record):
    """Whether more positive examples make a model go back faster."""

    few: int
    many: int
    initial_slope: SeedDifference
    "Score lost with each negative example before the knee, many minus few; positive is elastic."
    fall: SeedDifference
    """Score lost over all negative examples, many minus few; positive is elastic. A model that
    starts higher has more to lose."""
    examples_to_threshold: SeedDifference | None
    "Many minus few; negative is elastic. None unless all runs reached the threshold."


def rebound_growth(rebounds: Sequence[Rebound]) -> ReboundGrowth:
    """Compare the models with fewest and most positive examples, with the seed as the unit.

    The claim of 2406.06144, section 4.2: the more positive examples, the faster the fall, and the
    fewer negative ones bring the model back to the base (961 to 729 for 1000 to 10000).

    Raises:
        ValueError: If there are fewer than two seeds or numbers of positive examples, or a seed
            lacks one of the two.
    """
    numbers = sorted({found.n_positive for found in rebounds})
    few, many = numbers[0], numbers[-1]
    by_place = {(found.seed, found.n_positive): found for found in rebounds}
    seeds = sorted({found.seed for found in rebounds})
    complete = all((seed, n) in by_place for seed in seeds for n in (few, many))
    if len(seeds) < 2 or few == many or not complete:
        raise ValueError(
            f"seeds {seeds} and positive examples {numbers}; give two of each at least, and every "
            "seed with the fewest and the most"
        )
    sides = [[by_place[seed, n] for seed in seeds] for n in (few, many)]
    slopes = [[-found.knee.slope_before for found in side] for side in sides]
    reached = [
        [f.examples_to_threshold for f in s if f.examples_to_threshold is not None] for s in sides
    ]
    is_known = all(len(values) == len(seeds) for values in reached)
    return ReboundGrowth(
        few=few,
        many=many,
        initial_slope=seed_difference(slopes[0], slopes[1]),
        fall=seed_difference(*[[found.fall for found in side] for side in sides]),
        examples_to_threshold=seed_difference(reached[0], reached[1]) if is_known else None,
    )
