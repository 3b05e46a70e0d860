"""Models in other conditions than the plain test: their answers, and the rows that compare them.

Which models and conditions there are is `config.stressed_models`'.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from spillover.data.concepts import BENIGN
from spillover.data.prompt_sets import load_prompts
from spillover.errors import ConfigError
from spillover.evaluation.conditions import UNKNOWN, Triple, change_in, in_condition
from spillover.evaluation.refusal import refusal_scores
from spillover.files import read_json, write_json
from spillover.records import Prompt, Verdict
from spillover.seeding import numpy_generator
from spillover.study.artifacts import (
    RunFolder,
    load_prompt_file,
    load_verdict_file,
    save_records,
)
from spillover.study.config import StudyConfig
from spillover.study.config.model_runs import ModelRun, unlearned_artifact
from spillover.study.config.stress import ELSEWHERE, PLAIN
from spillover.study.config.stressed_models import (
    StressedModel,
    conditions,
    stressed_artifact,
    stressed_runs,
)
from spillover.study.evaluation.stages import generate
from spillover.study.stages.context import Context

if TYPE_CHECKING:  # The report draws; planning a study does not have to wait for matplotlib.
    from spillover.report.stress import StressRow


def stress_prompts(config: StudyConfig) -> list[Prompt]:
    """Return the prompts of other sources; none where the study names no file.

    Raises:
        DataError: If the file is missing or breaks a rule.
        ConfigError: If it has no prompt of a concept of the study.
    """
    if config.stress is None or config.stress.prompts is None:
        return []
    known = (*config.prompts.concepts, *BENIGN)
    file = Path(config.stress.prompts)
    found = [prompt for prompt in load_prompts(file) if prompt.concept in known]
    if not any(prompt.concept not in BENIGN for prompt in found):
        raise ConfigError(
            f"stress.prompts: {file} has no prompt of a concept of the study "
            f"({', '.join(config.prompts.concepts)}); its `concept` has to be one of them"
        )
    return found


def answer_under(context: Context, *, model: StressedModel, adapter: Path | None) -> None:
    """Let one model answer in one condition."""
    from spillover.models.system_prompts import with_system_prompt

    if model.condition == ELSEWHERE:
        prompts = stress_prompts(context.config)
    else:
        prompts = load_prompt_file(context.folder.prompts("test"))
    completions = generate(
        context,
        with_system_prompt(context.load(adapter), model.system),
        prompts,
        name=model.artifact,
        max_new_tokens=context.config.evaluate.max_new_tokens,
        title=f"{model.artifact}: answering",
    )
    save_records(context.folder.completions(model.artifact), completions)


def write_stress(config: StudyConfig, folder: RunFolder) -> None:
    """Write `stress.json`: every model of an intervention in every condition, the plain one too."""
    rows = [
        _row(config, folder, run, condition)
        for condition in (PLAIN, *conditions(config))
        for run in stressed_runs(config)
    ]
    write_json(folder.stress, [row.to_dict() for row in rows])


def load_stress(folder: RunFolder) -> "list[StressRow]":
    """Read `stress.json`; empty where a study stresses nothing."""
    from spillover.report.stress import StressRow

    if not folder.stress.exists():
        return []
    return [StressRow.from_dict(row) for row in read_json(folder.stress)]


def _row(config: StudyConfig, folder: RunFolder, run: ModelRun, condition: str) -> "StressRow":
    from spillover.report.stress import StressRow

    def verdicts(artifact: str, condition: str = condition) -> list[Verdict]:
        if condition != PLAIN:
            artifact = stressed_artifact(artifact, condition, about=run.target)
        return load_verdict_file(folder.verdicts(artifact, config.evaluate.judge))

    deflects = config.evaluate.deflection_is_refusal
    target, own, aligned = run.target_concept, verdicts(run.artifact), verdicts("aligned")
    contained = run.role == "contained"
    found = in_condition(
        aligned,
        own,
        unlearned=verdicts(unlearned_artifact(config, run)) if contained else None,
        target_concept=target,
        rng=numpy_generator(run.seed, "stress", run.model, condition),
        deflection_is_refusal=deflects,
    )
    back = UNKNOWN
    if target is not None and condition not in (PLAIN, ELSEWHERE):
        plain = verdicts(run.artifact, PLAIN)
        back = change_in(plain, own, concept=target, deflection_is_refusal=deflects)
    of_target = [verdict for verdict in aligned if verdict.concept == target]
    rates = refusal_scores(of_target, model="aligned", seed=0, deflection_is_refusal=deflects)
    return StressRow(
        condition=condition,
        model=run.model,
        role=run.role,
        target_concept=target or "",
        about=run.target,
        seed=run.seed,
        n_invalid=sum(verdict.label == "invalid" for verdict in own),
        aligned_target=rates[0].value if rates else None,
        **_named("target", found.target),
        **_named("back", back),
        **_named("others", found.others),
        **_named("recovered", found.recovered),
        **_named("benign", found.benign),
    )


def _named(name: str, triple: Triple) -> dict[str, float | None]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), triple, strict=True))
