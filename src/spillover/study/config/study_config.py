"""What a study is made of: its sections, and the rules that hold between them."""

from typing import Any, ClassVar

import yaml
from pydantic import Field, field_validator, model_validator

from spillover.study.config.analyses import AnalysesSection
from spillover.study.config.containment import ContainSection
from spillover.study.config.measuring import EvaluateSection, MonitorSection, SelectSection
from spillover.study.config.responses import CollectSection, WantedSection
from spillover.study.config.scale import check_alone
from spillover.study.config.section import Section
from spillover.study.config.sections import (
    AlignSection,
    ModelSection,
    PromptsSection,
    TrainingSection,
    UnlearnSection,
)
from spillover.study.config.stress import StressSection
from spillover.study.config.tuning import FinetuneSection

FURTHER_KEY = "stress.further"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class StudyConfig(Section):
    """A whole study."""

    needs_wanted: ClassVar[frozenset[str]] = frozenset(
        {"finetune", "augmented_finetune", "finetune_kl", "dpo", "dpo_retain"}
    )
    "Objectives of `unlearn` and `contain` that learn from wanted responses."
    later: ClassVar[frozenset[str]] = frozenset({"containments", "stress"})

    name: str = Field(pattern=_NAME)
    description: str = ""
    seeds: tuple[int, ...] = (0,)
    model: ModelSection = Field(default_factory=ModelSection)
    prompts: PromptsSection = Field(default_factory=PromptsSection)
    align: AlignSection | None = None
    "null where `model` is aligned already."
    collect: CollectSection = Field(default_factory=CollectSection)
    targets: tuple[str, ...] = ()
    "Concepts to unlearn, one intervention each."
    wanted: WantedSection | None = None
    "Responses to learn in place of refusals, for objectives that need them."
    unlearn: UnlearnSection | None = None
    contain: ContainSection | None = None
    containments: dict[str, ContainSection] = Field(default={})
    "Name -> another containment of the same interventions, compared with `contain`."
    finetune: dict[str, FinetuneSection] = Field(default_factory=dict)
    "Name -> narrow fine-tuning of the aligned model, one intervention each."
    monitor: MonitorSection | None = Field(default_factory=MonitorSection)
    select: SelectSection | None = None
    "Measuring along training and choosing a checkpoint; null keeps the last step."
    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)
    analyses: AnalysesSection | None = None
    "Explanations of every intervention; null for none."
    stress: StressSection | None = None
    "Other conditions that the interventions' models are measured in; null for none."
    grid: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    "Dotted key -> the values that the publication tried; a run takes none of them."

    @field_validator("finetune", "containments", "grid", mode="before")
    @classmethod
    def _leave_out_none(cls, sections: Any) -> Any:
        """Let null take one away, as a scale or `--set` may want to."""
        if not isinstance(sections, dict):
            return sections
        return {name: section for name, section in sections.items() if section is not None}

    @model_validator(mode="after")
    def _check_interventions(self) -> "StudyConfig":
        if self.unlearn is None and not self.finetune:
            raise ValueError(
                "there is no intervention; give `targets` and `unlearn`, or `finetune`"
            )
        if (self.contain is not None or self.containments) and self.unlearn is None:
            raise ValueError("`contain` is compared with unlearning; give `unlearn`, too")
        if self.containments and self.contain is None:
            raise ValueError("`containments` are compared with `contain`; give that, too")
        for key, named in (("finetune", self.finetune), ("containments", self.containments)):
            for name in named:
                if not name.replace("_", "").isalnum() or name != name.lower():
                    raise ValueError(
                        f"{key}: {name!r} is no name; use lower-case letters, digits and "
                        "underscores"
                    )
        return self

    @property
    def contain_sections(self) -> dict[str, ContainSection]:
        """Every containment by its name; that of `contain` itself is empty."""
        return ({} if self.contain is None else {"": self.contain}) | self.containments

    @property
    def _changes(self) -> dict[str, UnlearnSection]:
        """Key -> section of what unlearns and contains."""
        found: dict[str, UnlearnSection] = {} if self.unlearn is None else {"unlearn": self.unlearn}
        named = {
            f"containments.{k}" if k else "contain": s for k, s in self.contain_sections.items()
        }
        return found | named

    @model_validator(mode="after")
    def _check_containments(self) -> "StudyConfig":
        asks_more = bool(self.evaluate.suites or self.analyses)
        for section in self.contain_sections.values():
            section.check_study(
                has_base=self.align is not None,
                has_lora=self.unlearn is not None and self.unlearn.adapter is not None,
                asks_more=asks_more,
            )
        return self

    @model_validator(mode="after")
    def _check_gates(self) -> "StudyConfig":
        able: list[str] = []
        for name, section in self.contain_sections.items():
            behind = section.chosen.of
            if behind is not None and behind not in able:
                key = f"containments.{name}" if name else "contain"
                raise ValueError(
                    f"{key}.options.of: {behind!r} is no containment by one model that comes "
                    f"before it; choose {' or '.join(able) or 'none'}, or null for the unlearned "
                    "model"
                )
            able += [] if section.rule.is_routed else [name or "contain"]
        return self

    @model_validator(mode="after")
    def _check_stress(self) -> "StudyConfig":
        if self.stress is None:
            return self
        sections, chosen = self.contain_sections, self.stress.containments
        if unknown := set(chosen or ()) - set(self.containments):
            raise ValueError(
                f"stress.containments: {', '.join(sorted(unknown))} is not among `containments` "
                f"({', '.join(self.containments) or 'there are none'})"
            )
        names = ("", *(self.containments if chosen is None else chosen))
        routed = [sections[n].method for n in names if n in sections and sections[n].rule.is_routed]
        if routed:
            raise ValueError(
                f"stress: method {routed[0]} answers by two models, which have neither one "
                "context nor one training; list other `containments` in stress"
            )
        return self

    @model_validator(mode="after")
    def _check_wanted(self) -> "StudyConfig":
        for key, section in self._changes.items():
            if section.objective not in self.needs_wanted:
                continue
            if self.wanted is None:
                raise ValueError(
                    f"{key}.objective {section.objective} learns from wanted responses; say in "
                    "`wanted` where they come from"
                )
        return self

    @property
    def uses_wanted(self) -> bool:
        """Whether an objective learns from wanted responses."""
        return any(s.objective in self.needs_wanted for s in self._changes.values())

    @property
    def uses_collected(self) -> bool:
        """Whether an intervention learns from what the aligned model itself says."""
        tunings = self.finetune.values()
        return self.unlearn is not None or any(section.has_retain_set for section in tunings)

    @property
    def trainings(self) -> dict[str, TrainingSection]:
        """Key -> section of every training."""
        align: dict[str, TrainingSection] = {} if self.align is None else {"align": self.align}
        further = None if self.stress is None else self.stress.further
        last: dict[str, TrainingSection] = {} if further is None else {FURTHER_KEY: further}
        tunings = {f"finetune.{k}": s for k, s in self.finetune.items()}
        return align | self._changes | tunings | last

    @model_validator(mode="after")
    def _check_launched(self) -> "StudyConfig":
        for key, section in self.trainings.items():
            if section.launch is not None:
                method = getattr(section, "method", "retain_loss")
                selects = self.select is not None and key not in ("align", FURTHER_KEY)
                check_alone(f"{key}.launch", method=method, selects=selects)
        return self

    @model_validator(mode="after")
    def _check_targets(self) -> "StudyConfig":
        unknown = [t for t in self.targets if t not in self.prompts.concepts]
        if unknown or bool(self.targets) != (self.unlearn is not None):
            raise ValueError(
                f"targets {unknown or list(self.targets)}: choose among prompts.concepts "
                f"({', '.join(self.prompts.concepts)}) what `unlearn` is to remove"
            )
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError("seeds: give at least one, each once, none negative")
        return self

    def to_yaml(self) -> str:
        """Return the resolved study, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
