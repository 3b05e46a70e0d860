"""Which stages a study has, in order, and what each depends on."""

from collections.abc import Mapping, Sequence

from spillover.files import fingerprint
from spillover.records import Prompt
from spillover.study.artifacts import RunFolder
from spillover.study.config import StudyConfig
from spillover.study.config.containment import ContainSection
from spillover.study.config.model_runs import (
    ModelRun,
    first_round_artifact,
    gated_artifact,
    model_runs,
)
from spillover.study.config.scale import UNSEEN_KEYS
from spillover.study.config.sections import UnlearnSection
from spillover.study.evaluation import stages
from spillover.study.evaluation.scoring import write_scores
from spillover.study.runner.explain_stages import explaining_stages
from spillover.study.runner.stress_stages import stress_stages
from spillover.study.runner.tuning_plan import suite_stages, tuned_stages, wanted_stages
from spillover.study.stages.context import Context
from spillover.study.stages.datasets import study_prompts, study_questions
from spillover.study.stages.stage import (
    Stage,
    aligned_folder,
    held_out_inputs,
    judge_inputs,
    made_model,
    model_inputs,
    selection_inputs,
)
from spillover.study.training import stages as training_stages


def plan_study(config: StudyConfig, folder: RunFolder) -> list[Stage]:
    """Return all stages but the report, in an order in which each finds what it needs.

    Raises:
        InputError: If a prompt or question file is missing or wrong.
    """
    plan = [_prompts_stage(config, folder), *wanted_stages(config, folder)]
    for run in model_runs(config):
        plan += _making_stages(config, folder, run)
        plan += _measuring_stages(config, folder, run)
    plan.append(_scores_stage(config, folder))
    return [*plan, *stress_stages(config, folder), *explaining_stages(config, folder)]


def _prompts_stage(config: StudyConfig, folder: RunFolder) -> Stage:
    return Stage(
        name="prompts",
        inputs={"prompts": _content(study_prompts(config.prompts))},
        needs=(),
        outputs=(folder.prompts("train"), folder.prompts("test")),
        run=stages.write_prompts,
    )


def _content(prompts: Mapping[str, Sequence[Prompt]]) -> str:
    """Return a hash of what the prompts are, wherever they come from."""
    return fingerprint({split: [p.to_dict() for p in found] for split, found in prompts.items()})


def _making_stages(config: StudyConfig, folder: RunFolder, run: ModelRun) -> list[Stage]:
    if run.role == "aligned":
        return _aligned_stages(config, folder)
    if run.role == "base":
        return []
    if run.role == "tuned":
        return tuned_stages(config, folder, run)
    if run.role == "contained":
        section: UnlearnSection | None = config.contain_sections[run.containment]
    else:
        section = config.unlearn
    assert section is not None
    return [_unlearn_stage(config, folder, run, section)]


def _aligned_stages(config: StudyConfig, folder: RunFolder) -> list[Stage]:
    found = []
    section = config.align
    if section is not None:
        inputs = {**model_inputs(config.model), "seed": config.seeds[0]}
        judge, batch_size = judge_inputs(config.evaluate.judge), config.evaluate.batch_size
        found.append(
            Stage(
                name="align-data",
                inputs={
                    **inputs,
                    "tokens": section.benign_tokens,
                    "judge": judge,
                    "batch_size": batch_size,
                    **held_out_inputs(config),
                },
                needs=("prompts",),
                outputs=(folder.examples("align"),),
                run=lambda context: stages.collect_safety_data(context, section),
            )
        )
        found.append(
            Stage(
                name="align",
                inputs={**inputs, "align": section.model_dump(exclude=UNSEEN_KEYS)},
                needs=("align-data",),
                outputs=(folder.model("aligned"),),
                run=lambda context: training_stages.align(context, section),
            )
        )
    return [*found, _collect_stage(config, folder)] if config.uses_collected else found


def _collect_stage(config: StudyConfig, folder: RunFolder) -> Stage:
    aligned = aligned_folder(config, folder)
    evaluate = config.evaluate
    return Stage(
        name="collect",
        inputs={
            **model_inputs(config.model),
            **config.collect.model_dump(exclude={"min_forget"}),
            "targets": config.targets,
            "seed": config.seeds[0],
            "judge": [judge_inputs(evaluate.judge), evaluate.deflection_is_refusal],
            "batch_size": evaluate.batch_size,
            **held_out_inputs(config),
        },
        needs=("prompts",) if aligned is None else ("prompts", "align"),
        outputs=(folder.examples("collected"),),
        run=lambda context: stages.collect_refusals(context, aligned=aligned),
    )


def _unlearn_stage(
    config: StudyConfig, folder: RunFolder, run: ModelRun, section: UnlearnSection
) -> Stage:
    aligned = aligned_folder(config, folder)
    monitor = None if config.monitor is None else config.monitor.model_dump()
    made = () if aligned is None else ("align",)
    wanted = ("wanted",) if section.objective in config.needs_wanted else ()
    unlearned: tuple[str, ...] = ()
    if isinstance(section, ContainSection) and (
        section.rule.after or section.rule.looks_at_unlearned
    ):
        unlearned = (gated_artifact(config, run),)
    made_models = [run.artifact]
    if isinstance(section, ContainSection) and section.rule.has_second_round:
        made_models.append(first_round_artifact(run))

    def make(context: Context) -> None:
        if not isinstance(section, ContainSection):
            training_stages.unlearn(context, section, run=run, aligned=aligned)
            return
        from spillover.study.containment.methods import contain  # Imports torch.

        contain(context, section, run=run, aligned=aligned)

    return Stage(
        name=run.artifact,
        inputs={
            **model_inputs(config.model),
            "section": section.model_dump(exclude=UNSEEN_KEYS),
            "min_forget": config.collect.min_forget,
            "monitor": monitor,
            "target": run.target,
            "seed": run.seed,
            **selection_inputs(config),
        },
        needs=("prompts", "collect", *made, *wanted, *unlearned),
        outputs=tuple(folder.model(name) for name in made_models),
        run=make,
    )


def _measuring_stages(config: StudyConfig, folder: RunFolder, run: ModelRun) -> list[Stage]:
    name, section = run.artifact, config.evaluate
    made = made_model(config, folder, run)
    adapter, made_by = made.folder, made.made_by
    found = [
        Stage(
            name=f"answer-{name}",
            inputs={
                **model_inputs(config.model),
                "max_new_tokens": section.max_new_tokens,
                "batch_size": section.batch_size,
            },
            needs=("prompts", *made_by),
            outputs=(folder.completions(name),),
            run=lambda context: stages.answer_prompts(context, name=name, adapter=adapter),
        ),
        Stage(
            name=f"judge-{name}",
            inputs={"judge": judge_inputs(section.judge)},
            needs=(f"answer-{name}",),
            outputs=(folder.verdicts(name, section.judge),),
            run=lambda context: stages.judge_completions(context, name=name),
        ),
    ]
    if section.capability is not None:
        found.append(
            Stage(
                name=f"quiz-{name}",
                inputs={**model_inputs(config.model), "questions": _questions(section.capability)},
                needs=made_by,
                outputs=(folder.answers(name),),
                run=lambda context: stages.answer_quiz(context, name=name, adapter=adapter),
            )
        )
    return found + suite_stages(config, folder, run, adapter=adapter, made_by=made_by)


def _questions(capability: str) -> str:
    return fingerprint([question.to_dict() for question in study_questions(capability)])


def _scores_stage(config: StudyConfig, folder: RunFolder) -> Stage:
    runs = model_runs(config)
    kinds = ["judge", "answer"]
    kinds += ["quiz"] if config.evaluate.capability is not None else []
    kinds += ["suites"] if config.evaluate.suites else []
    return Stage(
        name="scores",
        inputs={
            "evaluate": config.evaluate.model_dump(),
            "seeds": config.seeds,
            "models": [run.artifact for run in runs],  # Their order is that of the rows.
        },
        needs=(
            *(f"{kind}-{run.artifact}" for run in runs for kind in kinds),
            *(f"data-{name}" for name in config.finetune),  # What leaks are looked for of.
        ),
        outputs=(
            folder.scores,
            folder.scores.with_suffix(".parquet"),
            folder.comparisons,
            folder.recoveries,
            *((folder.containments,) if config.containments else ()),
        ),
        run=lambda context: write_scores(context.config, context.folder),
    )
