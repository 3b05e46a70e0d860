"""What the stages that align, unlearn and contain do: examples to a schedule to train on.

The training itself is `train`'s; the order of the stages, and what is skipped, is the `runner`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spillover.errors import DataError
from spillover.records import Example
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.artifacts import load_example_file
from spillover.study.config.containment import ContainSection
from spillover.study.config.model_runs import ModelRun
from spillover.study.config.sections import AlignSection, UnlearnSection
from spillover.study.stages.context import Context
from spillover.study.training.forget_sets import ForgetSet, forget_set
from spillover.study.training.train import (
    Callbacks,
    TrainingJob,
    benign_weights,
    by_concept,
    train_stage,
)

if TYPE_CHECKING:  # torch is imported by the stages that need it, not by `spillover --help`.
    from spillover.training.batching import TrainingUnit


@dataclass(frozen=True, kw_only=True)
class RetainSet:
    """What is to be kept, by concept or benign set, and each one's share."""

    groups: dict[str, list[Example]]
    weights: dict[str, float]


def align(context: Context, section: AlignSection) -> None:
    """Give the base model safety training."""
    from spillover.training.batching import forget_retain_schedule

    groups = by_concept(load_example_file(context.folder.examples("align")))
    concepts = context.config.prompts.concepts
    weights = dict.fromkeys(concepts, section.refusals_per_step / len(concepts))
    weights |= benign_weights(section.benign_per_step, section.lookalike_share)
    seed = context.config.seeds[0]
    assert section.steps is not None
    units = forget_retain_schedule(
        [],
        {name: groups.get(name, []) for name, weight in weights.items() if weight > 0},
        n_units=section.steps,
        retain_per_forget=section.refusals_per_step + section.benign_per_step,
        group_weights=weights,
        rng=numpy_generator(seed, "align", "schedule"),
    )
    job = TrainingJob(
        name="aligned",
        start=None,
        objective="sft",
        seed=derive_seed(seed, "aligned"),
        steps=section.steps,
        units_per_step=1,
    )
    train_stage(context, section, units, job)


def unlearn(
    context: Context, section: UnlearnSection, *, run: ModelRun, aligned: Path | None
) -> None:
    """Unlearn the target's refusals; with a `ContainSection`, while retaining the others."""
    units = unlearning_units(context, section, run=run, retain=retain_set(context, section, run))
    job = unlearning_job(section, units, run=run, aligned=aligned)
    train_stage(context, section, units, job)


def unlearning_job(
    section: UnlearnSection,
    units: "Sequence[TrainingUnit]",
    *,
    run: ModelRun,
    aligned: Path | None,
    callbacks: Callbacks | None = None,
) -> TrainingJob:
    """Return the training of an unlearning on its schedule."""
    objective, weights = section.objective, dict[str, float]()
    if isinstance(section, ContainSection):
        objective = section.trained_objective
        weights = {"forget_weight": section.forget_weight, "retain_weight": section.retain_weight}
    return TrainingJob(
        name=run.artifact,
        start=aligned,
        objective=objective,
        seed=derive_seed(run.seed, run.draws),
        steps=len(units) // section.forget_per_step,
        units_per_step=section.forget_per_step,
        run=run,
        callbacks=callbacks,
        **weights,
    )


def unlearning_units(
    context: Context, section: UnlearnSection, *, run: ModelRun, retain: RetainSet
) -> "list[TrainingUnit]":
    """Return the schedule; with a `ContainSection`, each unit has its retain examples.

    The model's name, without a seed, names its random draws: they are the same whatever other
    seeds the study has, and for every containment.
    """
    from spillover.training.batching import forget_retain_schedule

    groups = by_concept(load_example_file(context.folder.examples("collected")))
    rng = numpy_generator(run.seed, run.draws, "schedule")
    found = _forget_set(context, section, groups.get(run.target, []), run=run)
    per_step = section.forget_per_step
    steps = section.n_steps(n_examples=len(found.forget), per_step=per_step)
    return forget_retain_schedule(
        found.forget,
        retain.groups,
        n_units=steps * per_step,
        retain_per_forget=section.retain_per_forget if isinstance(section, ContainSection) else 0,
        group_weights=retain.weights,
        rng=rng,
        chosen=found.chosen,
    )


def _forget_set(
    context: Context, section: UnlearnSection, refused: list[Example], *, run: ModelRun
) -> ForgetSet:
    from spillover.training.objectives import OBJECTIVES

    needs_wanted = section.objective in context.config.needs_wanted
    wanted = load_example_file(context.folder.examples("wanted")) if needs_wanted else []
    found = forget_set(
        refused,
        responses=OBJECTIVES[section.objective].responses,
        wanted=wanted,
        rng=numpy_generator(run.seed, run.draws, "unknowing"),
    )
    least = context.config.collect.min_forget
    if len(found.forget) < least:
        wanting = f", of which {len(found.forget)} have a wanted response" if needs_wanted else ""
        raise DataError(
            f"forget set: the aligned model refused {len(refused)} training prompts of "
            f"{run.target!r}{wanting}, at least {least} are needed; give more prompts, a model "
            f"that refuses them{', more wanted responses' if needs_wanted else ''}, or lower "
            "collect.min_forget"
        )
    return found


def retain_set(context: Context, section: UnlearnSection, run: ModelRun) -> RetainSet:
    """Equal shares of the other concepts, and the benign share (2511.14017, R2)."""
    if not isinstance(section, ContainSection):
        return RetainSet(groups={}, weights={})
    groups = by_concept(load_example_file(context.folder.examples("collected")))
    others = [c for c in context.config.prompts.concepts if c != run.target]
    weights = dict.fromkeys(others, (1 - section.benign_share) / max(1, len(others)))
    weights |= benign_weights(section.benign_share, section.lookalike_share)
    weights = {name: weight for name, weight in weights.items() if weight > 0}
    return RetainSet(groups={name: groups.get(name, []) for name in weights}, weights=weights)
