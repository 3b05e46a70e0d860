"""Whether a schedule, an objective, the settings and the number of processes fit each other."""

from collections.abc import Sequence
from dataclasses import replace

from spillover.records import Example
from spillover.training.batching import TrainingUnit, check_variety, parts_needed, split_units
from spillover.training.objectives import Objective
from spillover.training.settings import TrainingSettings


def shared_out(
    units: Sequence[TrainingUnit],
    settings: TrainingSettings,
    objective: Objective,
    *,
    n_processes: int,
) -> tuple[Sequence[TrainingUnit], TrainingSettings]:
    """Split units without a forget example where a step has fewer than it has batches.

    Raises:
        ValueError: If they cannot be split evenly.
    """
    parts = parts_needed(settings.units_per_step, batches=settings.accumulation * n_processes)
    if parts == 1 or objective.forget is not None:
        return units, settings
    split = replace(settings, units_per_step=settings.units_per_step * parts)
    return split_units(units, parts=parts), split


def check_units(
    units: Sequence[TrainingUnit],
    objective: Objective,
    settings: TrainingSettings,
    *,
    n_processes: int,
) -> None:
    """Check what would otherwise go wrong in the middle of a training.

    Raises:
        ValueError: If the number of units or the roles of their examples do not fit.
        DataError: If some concept has too few retain examples for its share.
    """
    expected = settings.steps * settings.units_per_step
    batches = settings.accumulation * n_processes
    if not units or len(units) != expected or settings.units_per_step % batches:
        times = f" times {n_processes} processes" if n_processes > 1 else ""
        raise ValueError(
            f"{len(units)} units given, {expected} needed for {settings.steps} steps; accumulation "
            f"{settings.accumulation}{times} must divide units_per_step {settings.units_per_step}"
        )
    check_variety(units, max_uses=settings.max_uses)
    _check_role("forget", [unit.forget for unit in units], needed=objective.forget is not None)
    _check_role("retain", [unit.retain for unit in units], needed=objective.retain is not None)
    _check_role("chosen", [unit.chosen for unit in units], needed=objective.uses_chosen)


def _check_role(role: str, examples: Sequence[Sequence[Example]], *, needed: bool) -> None:
    if any(bool(of_unit) != needed for of_unit in examples):
        rule = "needs them in every unit" if needed else "has no use for them"
        raise ValueError(
            f"{sum(map(len, examples))} {role} examples in {len(examples)} units, but the "
            f"objective {rule}; change the schedule or the objective"
        )
