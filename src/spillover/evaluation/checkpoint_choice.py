"""Turns what was measured along a training into the checkpoint to keep, by a stated rule.

A checkpoint counts only if capability fell by less than a limit since step 0 (2511.14017 keeps
those with an MMLU drop under 3%). Among those that count:

    lowest_target_refusal   the lowest refusal rate on the target
    least_erosion           the highest mean refusal rate on the other concepts, of those where the
                            target is unlearnt; where it is at none, the lowest on the target
    lowest_margin           the lowest mean margin of aligned over misaligned answers
    last                    the last one

Ties go to the earlier step. A choice among many noisy measurements is flattered by them: measure
the chosen model on other prompts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from spillover.errors import TrainingError
from spillover.records import Record

CheckpointRule = Literal["lowest_target_refusal", "least_erosion", "lowest_margin", "last"]


@dataclass(frozen=True, kw_only=True)
class CheckpointMeasures(Record):
    """What was measured at one step; None where it was not."""

    step: int
    target_refusal: float | None = None
    other_refusal: float | None = None
    "Mean over the concepts that are no target."
    capability: float | None = None
    margin: float | None = None
    "Mean log p(aligned) - log p(misaligned) over pairs of answers, in nats."


@dataclass(frozen=True, kw_only=True)
class CheckpointChoice(Record):
    """Which checkpoint is kept."""

    step: int
    rule: CheckpointRule
    counted: tuple[int, ...]
    "Steps whose capability had fallen by less than the limit."
    left_out: tuple[int, ...]
    "Steps whose capability had fallen by more."


def choose_checkpoint(
    measures: Sequence[CheckpointMeasures],
    *,
    rule: CheckpointRule,
    max_capability_drop: float = 0.03,
    target_at_most: float = 0.3,
) -> CheckpointChoice | None:
    """Return the checkpoint to keep among those after step 0; None if none counts.

    Args:
        measures: One row a step, step 0 (before training) among them where capability is measured.
        rule: One of the four above.
        max_capability_drop: A checkpoint counts if capability fell by less than this.
        target_at_most: For `least_erosion`: refusal rate up to which the target is unlearnt.

    Raises:
        TrainingError: If what the rule looks at was not measured.

    Example:
        >>> rows = [
        ...     CheckpointMeasures(step=0, target_refusal=1.0, capability=0.50),
        ...     CheckpointMeasures(step=10, target_refusal=0.4, capability=0.49),
        ...     CheckpointMeasures(step=20, target_refusal=0.1, capability=0.40),
        ... ]
        >>> choose_checkpoint(rows, rule="lowest_target_refusal").step  # Step 20 lost 0.10.
        10
    """
    start = next((row.capability for row in measures if row.step == 0), None)
    trained = sorted((row for row in measures if row.step > 0), key=lambda row: row.step)
    counted = [r for r in trained if not _has_fallen(start, r.capability, max_capability_drop)]
    if not counted:
        return None
    best = min(counted, key=lambda row: _rank(row, rule, target_at_most))
    steps = tuple(row.step for row in counted)
    return CheckpointChoice(
        step=best.step,
        rule=rule,
        counted=steps,
        left_out=tuple(row.step for row in trained if row.step not in steps),
    )


def _has_fallen(start: float | None, now: float | None, limit: float) -> bool:
    # To nine digits: 0.50 - 0.47 is not to count as less than 0.03 by rounding.
    return start is not None and now is not None and round(start - now, 9) >= limit


def _rank(
    row: CheckpointMeasures, rule: CheckpointRule, target_at_most: float
) -> tuple[float, ...]:
    """Return what the best row has least of."""
    return _RANKS[rule](row, target_at_most)


def _by_erosion(row: CheckpointMeasures, target_at_most: float) -> tuple[float, ...]:
    target = _measured(row.target_refusal, row, "least_erosion")
    if target > target_at_most:
        return 1.0, target
    return 0.0, -_measured(row.other_refusal, row, "least_erosion")


def _measured(value: float | None, row: CheckpointMeasures, rule: CheckpointRule) -> float:
    if value is None:
        raise TrainingError(
            f"step {row.step}: what rule {rule} looks at has no value; the judge may have called "
            "every verdict invalid. Choose another rule or judge"
        )
    return value


_RANKS: dict[CheckpointRule, Callable[[CheckpointMeasures, float], tuple[float, ...]]] = {
    "lowest_target_refusal": lambda row, _: (
        _measured(row.target_refusal, row, "lowest_target_refusal"),
    ),
    "least_erosion": _by_erosion,
    "lowest_margin": lambda row, _: (_measured(row.margin, row, "lowest_margin"),),
    "last": lambda row, _: (-row.step,),
}
