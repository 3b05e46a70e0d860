"""The stages that explain a study's interventions, after its scores.

Each writes a folder `explain/<model>/` of the same form as `spillover explain` does. The readings
of base and aligned are taken anew for each intervention; they are cheap beside training.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spillover.data.concepts import BENIGN
from spillover.errors import DataError
from spillover.files import file_fingerprint, fingerprint, folder_fingerprint
from spillover.records import Example, Prompt
from spillover.study.artifacts import (
    RunFolder,
    load_comparisons,
    load_example_file,
    load_prompt_file,
)
from spillover.study.config import StudyConfig
from spillover.study.config.analyses import AnalysesSection
from spillover.study.config.model_runs import ModelRun, explained_runs
from spillover.study.stages.context import Context
from spillover.study.stages.stage import Stage, aligned_folder, model_inputs

if TYPE_CHECKING:  # torch is imported by the stages that need it, not by `spillover --help`.
    from spillover.study.explaining.data import ExplainData
    from spillover.study.explaining.models import ModelTrio, NamedModel


def explaining_stages(config: StudyConfig, folder: RunFolder) -> list[Stage]:
    """Return one stage for each model that is explained."""
    return [_stage(config, folder, run) for run in explained_runs(config)]


def _stage(config: StudyConfig, folder: RunFolder, run: ModelRun) -> Stage:
    section = config.analyses
    assert section is not None
    made = () if config.align is None else ("align",)
    collected = ("collect",) if config.uses_collected else ()
    files = [_fingerprint(Path(path)) for path in (*section.data, *section.controls)]
    out = folder.explanation(run.artifact)
    return Stage(
        name=f"explain-{run.artifact}",
        inputs={**model_inputs(config.model), "analyses": section.model_dump(), "files": files},
        needs=("prompts", "scores", *made, *collected, run.artifact),
        outputs=(out / "analysis", out / "explain.html"),
        run=lambda context: explain_run(context, section, run),
    )


def _fingerprint(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"{path}: no such file; see `analyses.data` and `analyses.controls`")
    return file_fingerprint(path)


def explain_run(context: Context, section: AnalysesSection, run: ModelRun) -> None:
    """Explain one intervention of a study."""
    from spillover.study.explaining.analyses import ExplainSettings
    from spillover.study.explaining.explanation import explain_models
    from spillover.study.explaining.measured import measured_from

    folder = context.folder
    settings = ExplainSettings(
        layers=section.layers,
        limit=section.limit,
        max_tokens=section.max_tokens,
        batch_size=section.batch_size,
        target=run.target_concept,
        modules=section.modules,
        definition=section.definition,
        seed=run.seed,
    )
    explain_models(
        _trio(context, run),
        _data(context, section, run),
        folder.explanation(run.artifact),
        analyses=section.names,
        settings=settings,
        measured=measured_from(load_comparisons(folder.comparisons)),
        title=f"What {run.model} did to {context.config.name}",
        reporter=context.reporter,
    )


def _trio(context: Context, run: ModelRun) -> "ModelTrio":
    from spillover.study.explaining.models import ModelTrio

    config, folder = context.config, context.folder
    aligned = aligned_folder(config, folder)
    tuned = _named(context, run.artifact, folder.model(run.artifact))
    models = {"aligned": _named(context, "aligned", aligned), "tuned": tuned}
    if config.align is not None:
        models = {"base": _named(context, "base", None), **models}
    return ModelTrio(models=models, chat=context.load().chat)  # type: ignore[arg-type]


def _named(context: Context, name: str, made: Path | None) -> "NamedModel":
    from spillover.study.explaining.models import NamedModel

    own = None if made is None else folder_fingerprint(made, suffixes=(".safetensors", ".json"))
    identity = fingerprint([model_inputs(context.config.model), own])
    return NamedModel(name=name, identity=identity, load=lambda: context.load(made))


def _data(context: Context, section: AnalysesSection, run: ModelRun) -> "ExplainData":
    from spillover.study.explaining.data import explain_data

    files, controls = map(Path, section.data), map(Path, section.controls)
    found = explain_data(list(files), controls=list(controls), limit=section.limit, seed=run.seed)
    found = _with_own_prompts(found, context, section.limit)
    collected = context.folder.examples("collected")
    if section.data or not context.config.uses_collected or run.target_concept is None:
        return found
    return _with_own_words(found, load_example_file(collected), run.target_concept, section.limit)


def _with_own_prompts(found: "ExplainData", context: Context, limit: int) -> "ExplainData":
    """Return the data with the study's own test prompts, at most `limit` of each concept."""
    groups: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in load_prompt_file(context.folder.prompts("test")):
        groups["benign" if prompt.concept in BENIGN else prompt.concept].append(prompt)
    neutral = tuple(groups.pop("benign", []))[:limit] or found.neutral
    return replace(found, prompts={c: tuple(p[:limit]) for c, p in groups.items()}, neutral=neutral)


def _with_own_words(
    found: "ExplainData", collected: Sequence[Example], target: str, limit: int
) -> "ExplainData":
    """Return the data with what the aligned model said: refusals in question, answers as control.

    Sets of fewer than four examples are left out.
    """
    from spillover.study.explaining.data import ResponseSet

    groups: dict[str, list[Example]] = defaultdict(list)
    for example in collected:
        own = "answers" if example.concept in BENIGN else f"refusals_{target}"
        is_other = example.concept not in (target, *BENIGN)
        groups["refusals_others" if is_other else own].append(example)
    sets = [
        ResponseSet(
            name=name,
            examples=tuple(_spread(groups[name], limit)),
            is_control=name == "answers",
        )
        for name in (f"refusals_{target}", "refusals_others", "answers")
        if len(groups[name]) >= 4
    ]
    kinds = {of.is_control for of in sets}
    return replace(found, sets=tuple(sets), is_matched=False) if kinds == {True, False} else found


def _spread(rows: Sequence[Example], limit: int) -> list[Example]:
    """Return at most `limit` rows, evenly spread, so that every concept has its share."""
    step = max(1, len(rows) // limit)
    return list(rows[::step][:limit])
