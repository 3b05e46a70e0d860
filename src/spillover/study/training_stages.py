"""What the stages that align, unlearn and contain do: examples to a schedule to train on.

The training itself is `trainings`'; the order of the stages, and what is skipped, is `plan`'s and
`runner`'s.
"""

from pathlib import Path

from spillover.errors import DataError
from spillover.records import Example
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.artifacts import load_example_file
from spillover.study.context import Context
from spillover.study.forget_sets import ForgetSet, forget_set
from spillover.study.model_runs import ModelRun
from spillover.study.sections import AlignSection, ContainSection, UnlearnSection
from spillover.study.trainings import TrainingJob, benign_weights, by_concept, train_stage


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
    """Unlearn the target's refusals; with a `ContainSection`, while retaining the others.

    The model's name, without a seed, names its random draws: they are the same whatever other
    seeds the study has.
    """
    from spillover.training.batching import forget_retain_schedule

    groups = by_concept(load_example_file(context.folder.examples("collected")))
    rng = numpy_generator(run.seed, run.model, "schedule")
    found = _forget_set(context, section, groups.get(run.target, []), run=run)
    retain, weights = _retain_groups(context, section, groups, run.target)
    per_step = section.forget_per_step
    steps = section.n_steps(n_examples=len(found.forget), per_step=per_step)
    units = forget_retain_schedule(
        found.forget,
        retain,
        n_units=steps * per_step,
        retain_per_forget=section.retain_per_forget if isinstance(section, ContainSection) else 0,
        group_weights=weights,
        rng=rng,
        chosen=found.chosen,
    )
    weights = (
        {"forget_weight": section.forget_weight, "retain_weight": section.retain_weight}
        if isinstance(section, ContainSection)
        else {}
    )
    job = TrainingJob(
        name=run.artifact,
        start=aligned,
        objective=section.objective,
        seed=derive_seed(run.seed, run.model),
        steps=steps,
        units_per_step=per_step,
        run=run,
        **weights,
    )
    train_stage(context, section, units, job)


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
        rng=numpy_generator(run.seed, run.model, "unknowing"),
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


def _retain_groups(
    context: Context, section: UnlearnSection, groups: dict[str, list[Example]], target: str
) -> tuple[dict[str, list[Example]], dict[str, float]]:
    """Equal shares of the other concepts, and the benign share (2511.14017, R2)."""
    if not isinstance(section, ContainSection):
        return {}, {}
    others = [c for c in context.config.prompts.concepts if c != target]
    weights = dict.fromkeys(others, (1 - section.benign_share) / max(1, len(others)))
    weights |= benign_weights(section.benign_share, section.lookalike_share)
    weights = {name: weight for name, weight in weights.items() if weight > 0}
    return {name: groups.get(name, []) for name in weights}, weights
