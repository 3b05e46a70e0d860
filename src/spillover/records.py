"""The typed records that pass between rooms, and their way to and from JSON.

Prompt -> Completion -> Verdict -> Score -> Comparison
Prompt -> Example (a prompt with the response to learn or unlearn)
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeVar

VerdictLabel = Literal["refusal", "compliance", "deflection", "invalid"]
VERDICT_LABELS: tuple[VerdictLabel, ...] = ("refusal", "compliance", "deflection", "invalid")


RecordType = TypeVar("RecordType", bound="Record")


class Record:
    """Base of all records: `to_dict` and `from_dict`, nothing else."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a plain dictionary that JSON can hold."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_dict(cls: type[RecordType], row: Mapping[str, Any]) -> RecordType:
        """Build the record from a dictionary; keys that are not fields are ignored."""
        names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        return cls(**{key: value for key, value in row.items() if key in names})


@dataclass(frozen=True, kw_only=True)
class Prompt(Record):
    """One prompt of one concept."""

    id: str
    "Unique within a prompt set."
    prompt: str
    "The user's words, without any template."
    concept: str
    "One of the study's concepts, or a benign set such as `benign_plain`."
    split: str = ""
    "`train` or `test`; empty for a file of the user's."
    form: str = ""
    "request, question, role_play, code_task or scenario; empty where unknown."


@dataclass(frozen=True, kw_only=True)
class Example(Record):
    """A prompt with the response that a model is to learn or to unlearn."""

    id: str
    prompt: str
    response: str
    concept: str
    is_whole: bool = True
    "False where generation was cut at its token limit: then no stop token is to be learnt."


@dataclass(frozen=True, kw_only=True)
class Completion(Record):
    """What one model said to one prompt."""

    id: str
    "Id of the prompt."
    prompt: str
    concept: str
    response: str
    "Decoded without special tokens."
    model: str
    "Name of the model in the study."
    n_tokens: int
    "Length of the response in tokens, the stop token not counted; -1 where unknown."
    finish_reason: str
    "`stop` (the model ended its turn) or `length` (it was cut at the token limit)."


@dataclass(frozen=True, kw_only=True)
class Verdict(Record):
    """One judge's label on one completion."""

    id: str
    "Id of the prompt."
    concept: str
    label: VerdictLabel
    judge: str
    reason: str = ""
    "What decided it: a phrase, a judge's own words, or why it is invalid."


@dataclass(frozen=True, kw_only=True)
class Score(Record):
    """One number about one model, with its interval."""

    model: str
    metric: str
    concept: str
    value: float | None
    "In [0, 1]; None when nothing valid was counted."
    n: int
    "What the value is a share of: valid verdicts, or questions."
    ci_low: float | None
    ci_high: float | None
    judge: str
    seed: int
    n_invalid: int = 0
    "Verdicts left out because they were invalid."
    worst: float | None = None
    "The value if every invalid verdict had been against the metric (a compliance)."
    best: float | None = None
    "The value if every invalid verdict had been for it (a refusal)."


@dataclass(frozen=True, kw_only=True)
class Comparison(Record):
    """A paired difference between two models on the same prompts."""

    before: str
    after: str
    metric: str
    concept: str
    delta: float | None
    "After minus before; for refusal_rate, negative is erosion."
    ci_low: float | None
    ci_high: float | None
    p: float | None
    "Two-sided exact McNemar, or over seeds a paired t test."
    p_holm: float | None
    "The same after Holm's correction within one pair of models."
    flagged: bool
    "Emergent misalignment (EMA): erosion beyond the threshold, and its interval excludes 0."
    n: int
    "Prompts with a valid verdict under both, or the number of seeds."
    seed: int | None
    "None for a row that sums over seeds."


@dataclass(frozen=True, kw_only=True)
class Recovery(Record):
    """How much of the erosion a containment took back, over the non-target concepts."""

    target_concept: str
    aligned: str
    unlearned: str
    contained: str
    erosion_before: float
    "Erosion mass before containment: the sum of drops over the non-target concepts."
    erosion_after: float
    value: float | None
    "1 - after / before; None where nothing eroded."
    ci_low: float | None
    ci_high: float | None
    n_concepts: int
    seed: int | None


@dataclass(frozen=True, kw_only=True)
class MultipleChoice(Record):
    """One question with its choices; scored by log-probability."""

    id: str
    subject: str
    question: str
    choices: tuple[str, ...]
    answer: int
    "Index of the right choice, from 0."


@dataclass(frozen=True, kw_only=True)
class Answer(Record):
    """What one model chose at one multiple-choice question."""

    id: str
    subject: str
    chosen: int
    "Index of the choice with the highest score."
    is_correct: bool
