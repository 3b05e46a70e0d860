"""Forget and retain examples to a fixed schedule of training steps with exact ratios.

The schedule is made once from a seed. A trainer reads it in order, so that resuming, gradient
accumulation and several processes all see the same steps.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

import numpy as np

from spillover.errors import DataError
from spillover.records import Example


@dataclass(frozen=True)
class TrainingUnit:
    """The smallest piece of a step: one forget example with its share of retain examples."""

    forget: tuple[Example, ...]
    "One example, or none for objectives without a forget set."
    retain: tuple[Example, ...]
    chosen: tuple[Example, ...] = ()
    "The wanted response to the forget example's prompt; for objectives on pairs only."


def chosen_id(identity: str) -> str:
    """Return the id under which the wanted response beside a forget example is known."""
    return f"{identity}#chosen"


def forget_retain_schedule(
    forget: Sequence[Example],
    retain: Mapping[str, Sequence[Example]],
    *,
    n_units: int,
    retain_per_forget: int,
    group_weights: Mapping[str, float],
    rng: np.random.Generator,
    chosen: Mapping[str, Example] | None = None,
) -> list[TrainingUnit]:
    """Return `n_units` units of one forget and exactly `retain_per_forget` retain examples.

    Every list is gone through in a random order, again and again, so that examples are used
    equally often. Groups of the retain set take turns by their weights: after any number of draws
    a group is less than one example off its share.

    Args:
        forget: Responses to unlearn; empty for objectives without a forget set.
        retain: Group -> examples, for instance one group a concept and one of benign examples.
        n_units: Steps times units a step.
        retain_per_forget: Retain examples in each unit; 0 for objectives without a retain set.
        group_weights: Group -> share of the retain draws; only ratios matter.
        rng: Source of the order.
        chosen: Forget id -> the wanted response to the same prompt; for objectives on pairs.

    Raises:
        DataError: If a group that is needed is empty or has no positive weight, or a forget
            example has no wanted response.
    """
    groups = sorted(retain) if retain_per_forget > 0 else []
    if retain_per_forget > 0:
        _check_groups(retain, group_weights)
    forget_stream = _Endless(forget, rng)
    streams = {group: _Endless(retain[group], rng) for group in groups}
    turns = _Turns({group: group_weights[group] for group in streams})
    wanted = {} if chosen is None else _checked_pairs(forget, chosen)
    units = []
    for _ in range(n_units):
        kept = tuple(streams[turns.next()].next() for _ in range(retain_per_forget))
        unwanted = (forget_stream.next(),) if forget else ()
        pair = tuple(wanted[example.id] for example in unwanted if wanted)
        units.append(TrainingUnit(unwanted, kept, pair))
    return units


def supervised_schedule(
    examples: Sequence[Example], *, n_units: int, rng: np.random.Generator
) -> list[TrainingUnit]:
    """Return `n_units` units of one response to learn each, gone through as above."""
    return forget_retain_schedule(
        [],
        {"examples": examples},
        n_units=n_units,
        retain_per_forget=1,
        group_weights={"examples": 1.0},
        rng=rng,
    )


def split_units(units: Sequence[TrainingUnit], *, parts: int) -> list[TrainingUnit]:
    """Split units without a forget example into equal ones, so that processes can share them.

    A unit with a forget example is the smallest piece that keeps the ratio; one without it is only
    a bag of retain examples, whose mean is the mean of the means of equal parts.

    Args:
        units: Units of retain examples only.
        parts: Into how many each is split.

    Raises:
        ValueError: If a unit has a forget example, or its examples cannot be dealt out evenly.
    """
    found = []
    for unit in units:
        n = len(unit.retain)
        if unit.forget or n % parts:
            raise ValueError(
                f"{n} retain and {len(unit.forget)} forget examples in one unit cannot be split "
                f"into {parts} equal parts; make the examples of a step divisible by processes "
                "times accumulation"
            )
        found += [
            TrainingUnit((), unit.retain[i : i + n // parts]) for i in range(0, n, n // parts)
        ]
    return found


def parts_needed(units_per_step: int, *, batches: int) -> int:
    """Return into how many parts a unit must be split so that a step fills `batches` batches.

    Example:
        >>> parts_needed(8, batches=4), parts_needed(1, batches=4), parts_needed(6, batches=4)
        (1, 4, 2)
    """
    return batches // gcd(units_per_step, batches)


def check_variety(units: Sequence[TrainingUnit], *, max_uses: int) -> None:
    """Refuse a schedule in which some retain example would be learnt by heart.

    A concept with too few prompts for its share of the retain set comes again and again; what is
    kept then are its few prompts, not the concept.

    Args:
        units: The schedule.
        max_uses: How often one retain example may come.

    Raises:
        DataError: If one comes more often; the message names its concept and what would do.
    """
    uses = Counter((e.concept, e.id) for unit in units for e in unit.retain)
    if not uses:
        return
    (concept, _), most = uses.most_common(1)[0]
    if most > max_uses:
        of_concept = [n for (found, _), n in uses.items() if found == concept]
        raise DataError(
            f"retain set: {concept!r} has {len(of_concept)} examples for {sum(of_concept)} draws, "
            f"so that one would be learnt {most} times (at most {max_uses}); collect "
            f"{-(-sum(of_concept) // max_uses)} or more, train fewer steps, or lower its share"
        )


def _checked_pairs(
    forget: Sequence[Example], chosen: Mapping[str, Example]
) -> Mapping[str, Example]:
    for example in forget:
        if example.id not in chosen:
            raise DataError(
                f"forget set: {example.id!r} has no wanted response beside it; give one for each "
                "forget example, or take the example out"
            )
        if chosen[example.id].prompt != example.prompt:
            raise DataError(
                f"forget set: the wanted response for {example.id!r} answers another prompt; pair "
                "responses to the same prompt"
            )
    return chosen


def _check_groups(retain: Mapping[str, Sequence[Example]], weights: Mapping[str, float]) -> None:
    empty = sorted(group for group, examples in retain.items() if not examples)
    if empty or not retain:
        raise DataError(
            f"retain set: no examples for {empty or 'any group'}; collect more prompts for them "
            "or take them out of the study"
        )
    missing = sorted(group for group in retain if weights.get(group, 0) <= 0)
    if missing:
        raise DataError(
            f"retain set: groups {missing} have no positive weight; give each a weight above 0 "
            "or take them out of the study"
        )


class _Endless:
    """Examples in random order, reshuffled each time all were used."""

    def __init__(self, examples: Sequence[Example], rng: np.random.Generator) -> None:
        self._examples = list(examples)
        self._rng = rng
        self._waiting: list[Example] = []

    def next(self) -> Example:
        if not self._waiting:
            order = self._rng.permutation(len(self._examples))
            self._waiting = [self._examples[i] for i in order]
        return self._waiting.pop()


class _Turns:
    """Groups in turn, always less than one draw off their shares.

    Of the groups that are not ahead of their share, the one whose next draw is due first goes:
    earliest deadline first, which never misses a deadline that can be kept. The group furthest
    behind, the obvious choice, falls more than one draw behind where shares are very unequal.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        total = sum(map(Fraction, weights.values()))
        # Fractions, as a rounding error would put a group that is exactly on its share ahead.
        self._shares = {group: Fraction(weight) / total for group, weight in weights.items()}
        self._drawn = dict.fromkeys(weights, 0)
        self._n = 0

    def next(self) -> str:
        self._n += 1
        waiting = [g for g, share in self._shares.items() if self._drawn[g] < self._n * share]
        chosen = min(waiting, key=lambda group: (self._drawn[group] + 1) / self._shares[group])
        self._drawn[chosen] += 1
        return chosen
