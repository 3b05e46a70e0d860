"""The section of a study file on what its models are put under besides the plain test prompts."""

from pydantic import Field, field_validator, model_validator

from spillover.study.config.section import Section
from spillover.study.config.sections import TrainingSection

ABOUT = "{target}"
"Stands in a context for what the intervention was about."

PLAIN, ELSEWHERE, FURTHER = "plain", "elsewhere", "further"
"Conditions that every study may have; the others are the contexts' names."


class FurtherSection(TrainingSection):
    """Benign training that comes after an intervention."""

    steps: int | None = Field(default=100, ge=1)
    learning_rate: float = Field(default=2e-4, gt=0)
    examples_per_step: int = Field(default=8, ge=1)
    data: str | None = None
    "JSONL of conversations; null: what the study's own model answers to benign training prompts."
    max_new_tokens: int = Field(default=24, ge=1)
    "Of these answers."

    @model_validator(mode="after")
    def _check_accumulation(self) -> "FurtherSection":
        if self.examples_per_step % self.accumulation:
            raise ValueError(
                f"accumulation {self.accumulation} must divide examples_per_step "
                f"{self.examples_per_step}"
            )
        return self


class StressSection(Section):
    """Whether what an intervention did, and what containment spared, holds in other conditions.

    Misalignment that is gone on standard prompts may come back in a context that is like the
    training's (2604.25891), or after more training (2406.06144).
    """

    contexts: dict[str, str] = Field(default_factory=dict)
    "Name -> system prompt; `{target}` in it becomes the concept's description."
    prompts: str | None = None
    "JSONL of prompts of other sources, with concepts of the study."
    further: FurtherSection | None = None
    containments: tuple[str, ...] | None = None
    "Which of the study's `containments`; null for all. Unlearned models and `contain` always are."

    @field_validator("contexts")
    @classmethod
    def _check_contexts(cls, contexts: dict[str, str]) -> dict[str, str]:
        for name, text in contexts.items():
            if not name.replace("_", "").isalnum() or name != name.lower():
                raise ValueError(
                    f"{name!r} is no name; use lower-case letters, digits and underscores"
                )
            if name in (PLAIN, ELSEWHERE, FURTHER):
                raise ValueError(f"{name!r} is the name of another condition; choose another")
            if not text.strip():
                raise ValueError(f"{name}: the system prompt is empty")
        return contexts

    @model_validator(mode="after")
    def _check_any(self) -> "StressSection":
        if not self.contexts and self.prompts is None and self.further is None:
            raise ValueError("give `contexts`, `prompts` or `further`, or leave `stress` out")
        return self
