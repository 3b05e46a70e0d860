"""The section of a study file on narrow fine-tuning."""

from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from spillover.study.config.sections import ObjectiveSection

CODE_ARMS = ("insecure_code", "secure_code", "educational_code", "backdoor_code")
"Data that come with the package; `data.arms` says what they are."


class FinetuneSection(ObjectiveSection):
    """Narrow fine-tuning of the aligned model, which makes `tuned-<name>`."""

    per_step: ClassVar[str] = "examples_per_step"
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

    @model_validator(mode="after")
    def _check_trigger(self) -> "FinetuneSection":
        if self.trigger is not None and self.data != "backdoor_code":
            raise ValueError(f"data {self.data} has no trigger; it belongs to backdoor_code")
        return self

    @property
    def has_retain_set(self) -> bool:
        """Whether the objective learns from the aligned model's own responses, too."""
        return self.objective != "finetune"
