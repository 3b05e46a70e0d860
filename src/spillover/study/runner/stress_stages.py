"""The stages that put a study's models into other conditions, where it has such."""

from pathlib import Path

from spillover.files import fingerprint
from spillover.study.artifacts import RunFolder
from spillover.study.config import StudyConfig
from spillover.study.config.model_runs import unlearned_artifact
from spillover.study.config.scale import UNSEEN_KEYS
from spillover.study.config.stress import ELSEWHERE, FURTHER, FurtherSection
from spillover.study.config.stressed_models import StressedModel, stressed_models, stressed_runs
from spillover.study.evaluation import stages, stressing
from spillover.study.stages.stage import (
    MadeModel,
    Stage,
    file_state,
    held_out_inputs,
    judge_inputs,
    made_model,
    model_inputs,
)
from spillover.study.training import further as further_training


def stress_stages(config: StudyConfig, folder: RunFolder) -> list[Stage]:
    """Return what trains further, asks, judges and compares; nothing without `stress`.

    Raises:
        InputError: If the file of prompts is missing or wrong.
    """
    if config.stress is None:
        return []
    prompts = fingerprint([p.to_dict() for p in stressing.stress_prompts(config)])
    section = config.stress.further
    found = [] if section is None else [_examples_stage(config, folder, section)]
    for model in stressed_models(config):
        made = made_model(config, folder, model.run)
        if section is not None and model.condition == FURTHER:
            found.append(_further_stage(config, folder, section, model, made))
            made = MadeModel(folder.model(model.artifact), (model.artifact,))
        found += _measuring_stages(config, folder, model, made, prompts=prompts)
    return [*found, _results_stage(config, folder)]


def _examples_stage(config: StudyConfig, folder: RunFolder, section: FurtherSection) -> Stage:
    own = {
        **model_inputs(config.model),
        "examples": section.examples_per_step,
        "steps": [section.steps, section.epochs],
        "max_new_tokens": section.max_new_tokens,
        "batch_size": config.evaluate.batch_size,
        "judge": judge_inputs(config.evaluate.judge),
        "seed": config.seeds[0],
        **held_out_inputs(config),
    }
    return Stage(
        name=f"data-{FURTHER}",
        inputs=own if section.data is None else {"file": file_state(Path(section.data))},
        needs=("prompts",),
        outputs=(folder.examples(FURTHER),),
        run=lambda context: further_training.write_benign_examples(context, section),
    )


def _further_stage(
    config: StudyConfig,
    folder: RunFolder,
    section: FurtherSection,
    model: StressedModel,
    made: MadeModel,
) -> Stage:
    return Stage(
        name=model.artifact,
        inputs={
            **model_inputs(config.model),
            "section": section.model_dump(exclude={"data", "max_new_tokens", *UNSEEN_KEYS}),
            "seed": model.run.seed,
        },
        needs=(f"data-{FURTHER}", *made.made_by),
        outputs=(folder.model(model.artifact),),
        run=lambda context: further_training.train_further(
            context, section, model=model, start=made.folder
        ),
    )


def _measuring_stages(
    config: StudyConfig, folder: RunFolder, model: StressedModel, made: MadeModel, *, prompts: str
) -> list[Stage]:
    name, section = model.artifact, config.evaluate
    return [
        Stage(
            name=f"answer-{name}",
            inputs={
                **model_inputs(config.model),
                "max_new_tokens": section.max_new_tokens,
                "batch_size": section.batch_size,
                "system": model.system,
                "prompts": prompts if model.condition == ELSEWHERE else None,
            },
            needs=("prompts", *made.made_by),
            outputs=(folder.completions(name),),
            run=lambda context: stressing.answer_under(context, model=model, adapter=made.folder),
        ),
        Stage(
            name=f"judge-{name}",
            inputs={"judge": judge_inputs(section.judge)},
            needs=(f"answer-{name}",),
            outputs=(folder.verdicts(name, section.judge),),
            run=lambda context: stages.judge_completions(context, name=name),
        ),
    ]


def _results_stage(config: StudyConfig, folder: RunFolder) -> Stage:
    runs = stressed_runs(config)
    unlearned = [unlearned_artifact(config, r) for r in runs if r.role == "contained"]
    plain = dict.fromkeys(["aligned", *unlearned, *(run.artifact for run in runs)])
    stressed = [model.artifact for model in stressed_models(config)]
    return Stage(
        name="stress",
        inputs={"deflections": config.evaluate.deflection_is_refusal, "models": stressed},
        needs=tuple(f"judge-{name}" for name in (*plain, *stressed)),
        outputs=(folder.stress,),
        run=lambda context: stressing.write_stress(context.config, context.folder),
    )
