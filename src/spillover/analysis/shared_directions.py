"""Turns states of base and aligned on several data sets into shared leading directions, with nulls.

Section 4.4 of 2507.03662: the residual states aligned - base of each data set, their leading
singular directions, and how alike those of two data sets are. A cosine of 0.90 between insecure
code and toxic answers is the paper's evidence for a shared dimension of misalignment; in the
figures of its own repository refusals and educational code reach 0.93. So a match is only ever
reported beside those with benign data sets, with aligned rows shuffled against base rows, and with
random subspaces.

Departures. The paper's text does not centre the residuals and its code does: both are here. The
last token is the stop token of the answer, where its code takes whatever the chat template writes
last; the response mean is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spillover.analysis.direction_matches import Centring, DirectionMatch, SharedDirections
from spillover.analysis.estimate_columns import estimates_by_place
from spillover.analysis.estimates import Estimate
from spillover.analysis.nulls import permutation_p, random_subspaces
from spillover.analysis.resamples import standard_error_band
from spillover.analysis.subspaces import (
    LeadingDirections,
    absolute_cosines,
    leading_directions,
    principal_angles,
    subspace_overlap,
)


@dataclass(frozen=True, eq=False)
class StatePairs:
    """States of base and aligned on the same examples of one data set, at one layer."""

    name: str
    base: Float[Tensor, "example d_model"]
    aligned: Float[Tensor, "_ _"]
    "The same shape."

    def __post_init__(self) -> None:
        if self.base.shape != self.aligned.shape:
            raise ValueError(
                f"{self.name}: states of shapes {tuple(self.base.shape)} and "
                f"{tuple(self.aligned.shape)}; give both models the same examples"
            )

    def residuals(self) -> Float[Tensor, "example d_model"]:
        """Return aligned - base, in float64."""
        return self.aligned.double() - self.base.double()


def shared_directions(
    reference: StatePairs,
    other: StatePairs,
    *,
    benign: Sequence[StatePairs],
    layer: int,
    rng: np.random.Generator,
    k: int = 3,
    centring: Centring = "centred",
    n_resamples: int = 200,
    n_draws: int = 199,
    level: float = 0.95,
) -> SharedDirections:
    """Do two data sets share leading directions of aligned - base, more than benign ones do?

    The residuals R = H(aligned) - H(base) of each data set are decomposed, R = U S V^T, and the k
    leading right singular vectors are compared by |cosine| (signs mean nothing), principal angles
    and overlap, which unlike single cosines does not change when two directions with like singular
    values trade places. Intervals are normal, from a bootstrap over the examples of every data set.

    Args:
        reference: For example insecure code.
        other: The data set that the claim is about, for example toxic answers.
        benign: Controls: at least one data set that should not share what the claim is about.
        layer: What the states were taken at; kept in the result.
        rng: Source of resamples and null draws.
        k: Leading directions; the paper shows 3 and 8.
        centring: `centred` subtracts each data set's mean residual, as the paper's code does;
            `raw` keeps it, so that the first direction is close to the mean difference.
        n_resamples: Bootstrap resamples.
        n_draws: Draws under each null.
        level: Confidence level in the open interval (0, 1).

    Raises:
        ValueError: If there is no benign data set, two have the same name, or k directions cannot
            be had from one of them.
    """
    sets = [reference, other, *benign]
    if not benign or len({pairs.name for pairs in sets}) < len(sets):
        raise ValueError(
            f"data sets {[pairs.name for pairs in sets]}: give at least one benign control, and "
            "every data set a name of its own"
        )
    draw = _Drawing(sets=sets, k=k, centred=centring == "centred", rng=rng)
    fitted = [draw.fit(pairs.residuals()) for pairs in sets]
    measured = _measure([found.directions for found in fitted])
    resampled = draw.resampled(n_resamples)
    nulls = {
        "shuffled": draw.shuffled(n_draws),
        "random": draw.random(fitted[0].directions, n_draws),
    }
    excess = _excesses(measured, resampled, level=level)
    return SharedDirections(
        layer=layer,
        centring=centring,
        k=k,
        shares={p.name: tuple(f.shares.tolist()) for p, f in zip(sets, fitted, strict=True)},
        expected_random=k / reference.base.shape[1],
        matches=tuple(
            DirectionMatch(
                reference=reference.name,
                other=sets[i + 1].name,
                kind="claim" if i == 0 else "benign",
                cosines=tuple(map(tuple, _cosines(fitted[0], fitted[i + 1]).tolist())),
                best=_estimate(measured[i, 0], resampled[:, i, 0], level=level),
                angles=tuple(
                    principal_angles(fitted[0].directions, fitted[i + 1].directions).tolist()
                ),
                overlap=_estimate(measured[i, 1], resampled[:, i, 1], level=level),
                p_shuffled=_exceeds(measured[i, 1], nulls["shuffled"][:, i]),
                p_random=_exceeds(measured[i, 1], nulls["random"]),
                excess=excess[i],
            )
            for i in range(len(measured))
        ),
    )


@dataclass(frozen=True, eq=False)
class _Drawing:
    """Resamples and null draws of leading directions."""

    sets: Sequence[StatePairs]
    k: int
    centred: bool
    rng: np.random.Generator

    def fit(self, rows: Float[Tensor, "example d_model"]) -> LeadingDirections:
        return leading_directions(rows, k=self.k, centred=self.centred)

    def resampled(self, n: int) -> Float[np.ndarray, "resample match 2"]:
        """Measures when the examples of every data set are drawn again, with replacement."""
        rows = [pairs.residuals() for pairs in self.sets]

        def again(of: Tensor) -> Tensor:
            # A draw of too few different examples has no k directions, and is drawn again.
            chosen = self.rng.integers(len(of), size=len(of))
            while len(np.unique(chosen)) <= self.k:
                chosen = self.rng.integers(len(of), size=len(of))
            return self.fit(of[chosen]).directions

        return np.stack([_measure([again(of) for of in rows]) for _ in range(n)])

    def shuffled(self, n: int) -> Float[np.ndarray, "draw match"]:
        """Overlaps when each aligned state is compared with the base state of another example."""

        def broken(pairs: StatePairs) -> Tensor:
            order = self.rng.permutation(len(pairs.base))
            return self.fit(pairs.aligned.double()[order] - pairs.base.double()).directions

        return np.stack([_measure([broken(of) for of in self.sets])[:, 1] for _ in range(n)])

    def random(self, of: Float[Tensor, "k d_model"], n: int) -> Float[np.ndarray, " draw"]:
        """Overlaps of a subspace with uniformly random ones."""
        generator = torch.Generator().manual_seed(int(self.rng.integers(2**31)))
        drawn = random_subspaces(n, k=self.k, d_model=of.shape[1], generator=generator)
        # Both have orthonormal rows.
        return torch.einsum("id,njd->nij", of, drawn).square().sum(dim=(1, 2)).numpy() / self.k


def _cosines(one: LeadingDirections, other: LeadingDirections) -> Float[Tensor, "k k"]:
    return absolute_cosines(one.directions, other.directions)


def _measure(
    directions: Sequence[Float[Tensor, "k d_model"]],
) -> Float[np.ndarray, "match 2"]:
    """Largest |cosine| and overlap of the first subspace with each of the others."""
    first, *others = directions
    rows = [[absolute_cosines(first, o).max(), subspace_overlap(first, o)] for o in others]
    return np.array(rows, dtype=np.float64)


def _estimate(value: float, draws: Float[np.ndarray, " resample"], *, level: float) -> Estimate:
    band = standard_error_band(np.asarray(value), draws, level=level)
    return Estimate(
        value=float(value),
        ci_low=max(0.0, float(band.low)),
        ci_high=min(1.0, float(band.high)),
    )


def _excesses(
    measured: Float[np.ndarray, "match 2"],
    resampled: Float[np.ndarray, "resample match 2"],
    *,
    level: float,
) -> list[Estimate | None]:
    """Overlap of the claim less each control's; None for the claim itself."""
    value = measured[:1, 1] - measured[1:, 1]
    band = standard_error_band(value, resampled[:, :1, 1] - resampled[:, 1:, 1], level=level)
    return [None, *estimates_by_place(value, band)]


def _exceeds(value: float, draws: Float[np.ndarray, " draw"]) -> float:
    return float(permutation_p(value, draws, alternative="greater"))
