"""Which models of a study are measured in which conditions, and under which names."""

from dataclasses import dataclass

from spillover.data.concepts import CONCEPTS
from spillover.study.config.model_runs import ModelRun, model_runs
from spillover.study.config.stress import ABOUT, ELSEWHERE, FURTHER
from spillover.study.config.study_config import StudyConfig


@dataclass(frozen=True)
class StressedModel:
    """One model in one condition."""

    run: ModelRun
    condition: str
    about: str
    "The intervention's target; the aligned model is asked once in the context of each."
    system: str | None = None
    "System prompt of a context."

    @property
    def artifact(self) -> str:
        """Its name in the run folder."""
        return stressed_artifact(self.run.artifact, self.condition, about=self.about)


def stressed_artifact(artifact: str, condition: str, *, about: str) -> str:
    """Return the name in the run folder of a model in a condition."""
    is_shared = artifact == "aligned" and condition not in (ELSEWHERE, FURTHER)
    return f"{artifact}--{condition}" + (f"-{about}" if is_shared else "")


def stressed_runs(config: StudyConfig) -> list[ModelRun]:
    """Return the interventions' models that are stressed; the aligned one is, too."""
    if config.stress is None:
        return []
    chosen = config.stress.containments
    return [
        run
        for run in model_runs(config)
        if run.role not in ("base", "aligned")
        and (not run.containment or chosen is None or run.containment in chosen)
    ]


def stressed_models(config: StudyConfig) -> list[StressedModel]:
    """Return every model in every condition, the aligned one first."""
    if config.stress is None:
        return []
    aligned = next(run for run in model_runs(config) if run.role == "aligned")
    found = []
    for condition in conditions(config):
        is_shared = condition in (ELSEWHERE, FURTHER)
        for about in ("",) if is_shared else (*config.targets, *config.finetune):
            system = context_prompt(config, condition, about=about)
            found.append(StressedModel(aligned, condition, about, system))
        for run in stressed_runs(config):
            system = context_prompt(config, condition, about=run.target)
            found.append(StressedModel(run, condition, run.target, system))
    return found


def conditions(config: StudyConfig) -> tuple[str, ...]:
    """Return the names of the conditions, the plain one not among them."""
    section = config.stress
    if section is None:
        return ()
    elsewhere = () if section.prompts is None else (ELSEWHERE,)
    return (*section.contexts, *elsewhere, *(() if section.further is None else (FURTHER,)))


def context_prompt(config: StudyConfig, condition: str, *, about: str) -> str | None:
    """Return the system prompt of a context; None for the other conditions."""
    assert config.stress is not None
    text = config.stress.contexts.get(condition)
    known = CONCEPTS.get(about)
    described = about.replace("_", " ") if known is None else known.description.rstrip(".").lower()
    return None if text is None else text.replace(ABOUT, described)
