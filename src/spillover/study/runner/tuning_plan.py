"""The stages that a study has for fine-tunings, wanted responses and suites, where it has such."""

from pathlib import Path
from typing import Any

from spillover.files import fingerprint
from spillover.seeding import numpy_generator
from spillover.study.artifacts import RunFolder
from spillover.study.config import StudyConfig
from spillover.study.config.model_runs import ModelRun
from spillover.study.config.responses import WantedSection
from spillover.study.config.scale import UNSEEN_KEYS
from spillover.study.config.tuning import FinetuneSection
from spillover.study.evaluation import stages
from spillover.study.evaluation.margin_changes import FORMS, pair_suites
from spillover.study.evaluation.suites import RUBRICS
from spillover.study.stages.datasets import finetune_examples, finetune_file, study_suites
from spillover.study.stages.stage import (
    Stage,
    aligned_folder,
    file_state,
    held_out_inputs,
    judge_inputs,
    model_inputs,
    selection_inputs,
)
from spillover.study.training import tuning_stages


def wanted_stages(config: StudyConfig, folder: RunFolder) -> list[Stage]:
    """Return the stage that finds wanted responses, if an objective learns from them."""
    section = config.wanted
    if section is None or not config.uses_wanted:
        return []
    return [
        Stage(
            name="wanted",
            inputs={
                **_wanted_source(section),
                "targets": config.targets,
                "seed": config.seeds[0],
                "max_new_tokens": section.max_new_tokens,
                "judge": judge_inputs(config.evaluate.judge),
                "batch_size": config.evaluate.batch_size,
                **held_out_inputs(config),
            },
            needs=("prompts",),
            outputs=(folder.examples("wanted"),),
            run=lambda context: tuning_stages.find_wanted(context, section),
        )
    ]


def _wanted_source(section: WantedSection) -> dict[str, Any]:
    if section.model is not None:
        return model_inputs(section.model)
    if section.file is not None:
        return {"file": file_state(Path(section.file))}
    return {"unknowing": True}


def missing_files(config: StudyConfig) -> dict[str, Path]:
    """Return key -> file of the training data that a study names and that are not there."""
    named = {
        f"finetune.{name}.data": finetune_file(section) for name, section in config.finetune.items()
    }
    if config.wanted is not None and config.wanted.file is not None and config.uses_wanted:
        named["wanted.file"] = Path(config.wanted.file)
    further = None if config.stress is None else config.stress.further
    if further is not None and further.data is not None:
        named["stress.further.data"] = Path(further.data)
    return {key: file for key, file in named.items() if file is not None and not file.is_file()}


def tuned_stages(config: StudyConfig, folder: RunFolder, run: ModelRun) -> list[Stage]:
    """Return the stages that make one fine-tuned model; the first seed's also write its data."""
    section = config.finetune[run.target]
    stages = [_data_stage(config, folder, run.target)] if run.seed == config.seeds[0] else []
    return [*stages, _tuned_stage(config, folder, run, section)]


def _data_stage(config: StudyConfig, folder: RunFolder, name: str) -> Stage:
    section = config.finetune[name]
    file = finetune_file(section)
    seed = config.seeds[0]
    state = None
    if file is None or file.is_file():
        rng = numpy_generator(seed, "finetune", "framings")
        examples = finetune_examples(section, name=name, rng=rng)
        state = fingerprint([example.to_dict() for example in examples])
    return Stage(
        name=f"data-{name}",
        inputs={"examples": state},
        needs=(),
        outputs=(folder.examples(f"finetune-{name}"),),
        run=lambda context: tuning_stages.write_examples(context, section, name=name, seed=seed),
    )


def _tuned_stage(
    config: StudyConfig, folder: RunFolder, run: ModelRun, section: FinetuneSection
) -> Stage:
    aligned = aligned_folder(config, folder)
    made = () if aligned is None else ("align",)
    collected = ("collect",) if section.has_retain_set else ()
    monitor = None if config.monitor is None else config.monitor.model_dump()
    return Stage(
        name=run.artifact,
        inputs={
            **model_inputs(config.model),
            "section": section.model_dump(exclude={"data", "limit", "trigger", *UNSEEN_KEYS}),
            "monitor": monitor,
            "seed": run.seed,
            **selection_inputs(config),
        },
        needs=("prompts", f"data-{run.target}", *collected, *made),
        outputs=(folder.model(run.artifact),),
        run=lambda context: tuning_stages.tune(context, section, run=run, aligned=aligned),
    )


def _margin_files(config: StudyConfig, folder: RunFolder, name: str) -> list[Path]:
    return [
        folder.margins(name, f"{suite}_{form}") for suite in pair_suites(config) for form in FORMS
    ]


def suite_stages(
    config: StudyConfig,
    folder: RunFolder,
    run: ModelRun,
    *,
    adapter: Path | None,
    made_by: tuple[str, ...],
) -> list[Stage]:
    """Return the stage that asks one model the study's suites, if it has any."""
    section = config.evaluate
    if not section.suites:
        return []
    name = run.artifact
    asked = study_suites(section)
    items = fingerprint([[s.suite.name, [item.to_dict() for item in s.items]] for s in asked])
    rubrics = RUBRICS if section.grader is not None else ()
    return [
        Stage(
            name=f"suites-{name}",
            inputs={
                **model_inputs(config.model),
                "items": items,
                "n_samples": section.n_samples,
                "sample_tokens": section.sample_tokens,
                "batch_size": section.batch_size,
                "graders": [judge_inputs(f"llm:{name}@{section.grader}") for name in rubrics],
                "seed": run.seed,
            },
            needs=made_by,
            outputs=(folder.suites(name), *_margin_files(config, folder, name)),
            run=lambda context: stages.ask_suites(context, run=run, adapter=adapter),
        )
    ]
