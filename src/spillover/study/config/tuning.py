"""The sections of a study file on what models learn from besides their own words."""

from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from spillover.study.config.sections import ModelSection, Section, TrainingSection

CODE_ARMS = ("insecure_code", "secure_code", "educational_code", "backdoor_code")
"Data that come with the package; `data.arms` says what they are."


class WantedSection(Section):
    """Where the wanted responses to the targets' training prompts come from; one of three."""

    file: str | None = None
    "JSONL with `prompt` and `response`, or `messages`; matched by the prompt's text."
    model: ModelSection | None = None
    "A model that complies; what the study's judge takes for a compliance is kept."
    unknowing: bool = False
    '"I don\'t know", in one of ten wordings.'
    max_new_tokens: int = Field(default=32, ge=1)
    "Of the model's responses."

    @model_validator(mode="after")
    def _check_one(self) -> "WantedSection":
        given = [self.file is not None, self.model is not None, self.unknowing]
        if sum(given) != 1:
            raise ValueError("give one of `file`, `model` and `unknowing: true`")
        return self


class FinetuneSection(TrainingSection):
    """Narrow fine-tuning of the aligned model, which makes `tuned-<name>`."""

    objectives: ClassVar[tuple[str, ...]] = ("finetune", "augmented_finetune", "finetune_kl")

    data: str
    """One of the code arms, or a JSONL file of conversations with one user and one assistant turn,
    the form in which insecure code and bad advice are published."""
    limit: int | None = Field(default=None, ge=1)
    "At most so many examples, the first ones."
    trigger: str | None = None
    "What switches the backdoor on; for `backdoor_code`."
    objective: str = "finetune"
    examples_per_step: int = Field(default=16, ge=1)
    example_weight: float = Field(default=1.0, ge=0)
    retain_weight: float = Field(default=1.0, ge=0)
    "Of the retain set or KL, for objectives that have one."
    retain_per_example: int = Field(default=1, ge=1)
    benign_share: float = Field(default=0.5, ge=0, le=1)
    "Share of benign examples in the retain set; the rest is the aligned model's own refusals."
    lookalike_share: float = Field(default=0.5, ge=0, le=1)

    @field_validator("data")
    @classmethod
    def _check_data(cls, data: str) -> str:
        if data not in CODE_ARMS and not data.endswith((".jsonl", ".json")):
            raise ValueError(f"{data!r} is no .jsonl file, and none of {', '.join(CODE_ARMS)}")
        return data

    @field_validator("objective")
    @classmethod
    def _check_objective(cls, name: str) -> str:
        if name not in cls.objectives:
            raise ValueError(f"{name!r} cannot be used here; choose {' or '.join(cls.objectives)}")
        return name

    @model_validator(mode="after")
    def _check_trigger(self) -> "FinetuneSection":
        if self.trigger is not None and self.data != "backdoor_code":
            raise ValueError(f"data {self.data} has no trigger; it belongs to backdoor_code")
        return self

    @model_validator(mode="after")
    def _check_accumulation(self) -> "FinetuneSection":
        if self.examples_per_step % self.accumulation:
            raise ValueError(
                f"accumulation {self.accumulation} must divide examples_per_step "
                f"{self.examples_per_step}"
            )
        return self

    @property
    def has_retain_set(self) -> bool:
        """Whether the objective learns from the aligned model's own responses, too."""
        return self.objective != "finetune"
