"""The sections of a study file on the responses that are unlearnt, retained or learnt."""

from typing import ClassVar

from pydantic import Field, model_validator

from spillover.study.config.section import Section
from spillover.study.config.sections import ModelSection


class CollectSection(Section):
    """Collecting the aligned model's own refusals and benign answers."""

    later: ClassVar[frozenset[str]] = frozenset({"temperature"})

    max_new_tokens: int = Field(default=32, ge=1)
    temperature: float = Field(default=0.0, ge=0.0)
    """Of refusals; benign answers are greedy. Greedy decoding shows a model's one or two likeliest
    wordings, and once these are unlearned it refuses in its third; sampling at 1 shows them all."""
    benign_tokens: int | None = Field(default=None, ge=1)
    "Tokens of each benign answer that are kept, once it was judged; null for all."
    min_forget: int = Field(default=16, ge=1)
    "Fewer refusals of the target than this stop the study."
    retain_limit: int | None = Field(default=None, ge=1)
    "Training prompts asked of each set that is no target; null for all."


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
