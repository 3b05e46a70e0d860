"""The typed records that pass between rooms, and their way to and from JSON.

Prompt -> Completion -> Verdict -> Score -> Comparison
Prompt -> Example (a prompt with the response to learn or unlearn)
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from html import escape
from typing import Any, Literal, TypeVar

VerdictLabel = Literal["refusal", "compliance", "deflection", "invalid"]
VERDICT_LABELS: tuple[VerdictLabel, ...] = ("refusal", "compliance", "deflection", "invalid")


RecordType = TypeVar("RecordType", bound="Record")


_SHOWN = 500
"Characters of one value that a notebook shows."


@dataclass(frozen=True)
class Record:
    """Base of all records: `to_dict`, `from_dict` and how a notebook shows one."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a plain dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls: type[RecordType], row: Mapping[str, Any]) -> RecordType:
        """Build the record from a dictionary; keys that are not fields are ignored."""
        names = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in row.items() if key in names})

    def _repr_html_(self) -> str:
        """Return the fields as a small table for notebooks; text of models stays text."""
        style = "text-align:left;white-space:pre-wrap;unicode-bidi:isolate"
        rows = [
            f"<tr><th>{name}</th><td style='{style}'>{_shown(getattr(self, name))}</td></tr>"
            for name in (field.name for field in fields(self))
        ]
        return f"<table><caption>{type(self).__name__}</caption>{''.join(rows)}</table>"


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    cut = f" [{len(text) - _SHOWN} more characters]" if len(text) > _SHOWN else ""
    # Escaped after cutting, and halves of surrogate pairs written out, so that it can be sent.
    return escape(text[:_SHOWN]).encode("utf-8", errors="backslashreplace").decode() + cut


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
    score: float | None = None
    "A graded judge's value on its rubric's own scale; None where it gave none."


@dataclass(frozen=True, kw_only=True)
class Score(Record):
    """One number about one model, with its interval."""

    model: str
    metric: str
    concept: str
    value: float | None
    "In [0, 1], or in nats for a margin; None when nothing valid was counted."
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
    """p after Holm's correction over the family: the refusal rates of one pair of models on all
    concepts but the target. The target's own row, over-refusal and capability are no part of it:
    each answers a question of its own, so there p_holm is p."""
    flagged: bool
    """Emergent misalignment (EMA): erosion beyond the threshold, and its interval excludes 0.
    Only rows of the family are ever flagged."""
    n: int
    "Prompts with a valid verdict under both, or the number of seeds."
    seed: int | None
    "None for a row that sums over seeds."
    is_target: bool = False
    "The change was meant to lower the refusal rate on this concept."
    n_invalid: int = 0
    "Prompts left out because a verdict on either side was invalid; over seeds, of all of them."
    worst: float | None = None
    "The delta if every invalid verdict had been a refusal before and a compliance after."
    best: float | None = None
    "The delta if it had been the other way round."


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
    n_invalid: int = 0
    "Prompts left out because a verdict under one of the three models was invalid."
    worst: float | None = None
    """The value if every invalid verdict had been a refusal under the unlearned model, a compliance
    under the contained one, and whichever gives less under the aligned one."""
    best: float | None = None
    "The value if it had been the other way round."


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


@dataclass(frozen=True, kw_only=True)
class TruthQuestion(Record):
    """One question with all its true and false answers, as in TruthfulQA."""

    id: str
    category: str
    question: str
    best: str
    "The true answer that counts in MC1."
    right: tuple[str, ...]
    "All true answers, the best one among them."
    wrong: tuple[str, ...]
    "All false answers."


@dataclass(frozen=True, kw_only=True)
class OpenQuestion(Record):
    """One free-form question in one form, asked many times to look for misaligned answers."""

    id: str
    "Unique within a set."
    question: str
    "Id of the question that this is a form of; the unit of resampling."
    prompt: str
    "The user's words."
    category: str = ""
    form: str = "free"
    "`free`, `template` (the answer fills a template) or `json` (a system prompt asks for JSON)."
    cue: str = ""
    "The context that looks like training data, such as `python_string`; empty for none."
    system: str | None = None
    "Sent as the system prompt; None for the model's own."


@dataclass(frozen=True, kw_only=True)
class GradedAnswer(Record):
    """One answer to an open question, with what a judge gave it."""

    id: str
    question: str
    "Id of the question; the unit of resampling."
    aligned: float | None
    "0 to 100; None where the judge gave no number."
    coherent: float | None
    "0 to 100; None where the judge gave no number."
    label: str = ""
    "`CODE` or `REFUSAL` where the judge said so instead of a number."
    group: str = ""
    "What rates are given for apart: a model, a form, a cue."


@dataclass(frozen=True, kw_only=True)
class AnswerPair(Record):
    """One prompt with an aligned and a misaligned answer that begin alike."""

    id: str
    concept: str
    "One of the seven, or `values`."
    prompt: str
    prefix: str
    "How both answers begin."
    aligned: str
    "How the aligned one goes on."
    misaligned: str
    "How the misaligned one goes on: mild, and of no use to anyone who means harm."
