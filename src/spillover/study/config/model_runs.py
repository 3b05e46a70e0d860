"""Which models a study has, and what each is compared with."""

from dataclasses import dataclass

from spillover.study.config.study_file import StudyConfig


@dataclass(frozen=True)
class ModelRun:
    """One model of one seed."""

    role: str
    "base, aligned, unlearned, contained or tuned."
    target: str
    "The concept unlearnt, or the name of the fine-tuning; empty for base and aligned."
    seed: int
    artifact: str
    "Its name in the run folder: the model's name, with the seed if the study has several."
    compared_with: tuple[str, ...]
    "Models that it is compared with, as `before`."
    containment: str = ""
    "Name of the containment; empty for the one of `contain`, and for other models."

    @property
    def target_concept(self) -> str | None:
        """The concept whose refusals were to fall; None where none was."""
        return self.target if self.role in ("unlearned", "contained") else None

    @property
    def model(self) -> str:
        """The model's name in scores."""
        return f"{_kind(self.role, self.containment)}-{self.target}" if self.target else self.role

    @property
    def draws(self) -> str:
        """What names the random draws of its training; all containments share theirs."""
        return f"{self.role}-{self.target}"

    def pairs_with(self, after: "ModelRun") -> bool:
        """Return whether this is the `before` of `after`'s own chain."""
        return not self.target or (self.target == after.target and self.seed == after.seed)


def model_runs(config: StudyConfig) -> list[ModelRun]:
    """Return all models in the order of the study.

    Base and aligned are made once, with the first seed: the seeds vary the interventions.
    """
    first = config.seeds[0]
    runs = [] if config.align is None else [ModelRun("base", "", first, "base", ())]
    runs.append(ModelRun("aligned", "", first, "aligned", ("base",)))
    for target in config.targets:
        for seed in config.seeds:
            suffix = _suffix(config, target, seed)
            runs.append(ModelRun("unlearned", target, seed, f"unlearned-{suffix}", ("aligned",)))
            for name in config.contain_sections:
                artifact = f"{_kind('contained', name)}-{suffix}"
                # Many containments are compared with each other, in a table of their own.
                before = ("aligned",) if name else ("aligned", f"unlearned-{target}")
                runs.append(ModelRun("contained", target, seed, artifact, before, name))
    for name in config.finetune:
        for seed in config.seeds:
            artifact = f"tuned-{_suffix(config, name, seed)}"
            runs.append(ModelRun("tuned", name, seed, artifact, ("aligned",)))
    return runs


def _kind(role: str, containment: str) -> str:
    return f"{role}_{containment}" if containment else role


def first_round_artifact(run: ModelRun) -> str:
    """Return the name of what a containment in two rounds makes on the way."""
    return f"{run.artifact}-round-1"


def unlearned_artifact(config: StudyConfig, run: ModelRun) -> str:
    """Return the name in the run folder of what was unlearned for a target and seed."""
    return f"unlearned-{_suffix(config, run.target, run.seed)}"


def gated_artifact(config: StudyConfig, run: ModelRun) -> str:
    """Return the name in the run folder of the model that is behind a containment's gate."""
    behind = config.contain_sections[run.containment].chosen.of
    if behind is None:
        return unlearned_artifact(config, run)
    kind = _kind("contained", "" if behind == "contain" else behind)
    return f"{kind}-{_suffix(config, run.target, run.seed)}"


def _suffix(config: StudyConfig, name: str, seed: int) -> str:
    return f"{name}-seed-{seed}" if len(config.seeds) > 1 else name


def explained_runs(config: StudyConfig) -> list[ModelRun]:
    """Return the models that are explained: the interventions, of the first seed if not of all."""
    if config.analyses is None:
        return []
    seeds = config.seeds if config.analyses.all_seeds else config.seeds[:1]
    return [r for r in model_runs(config) if r.role not in ("base", "aligned") and r.seed in seeds]
