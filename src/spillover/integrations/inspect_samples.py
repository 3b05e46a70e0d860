"""Turns our items into Inspect's samples, and what Inspect knows of a sample back into text.

What our scorers and metrics need later travels in a sample's metadata.
"""

from collections.abc import Sequence

from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser
from inspect_ai.solver import TaskState

from spillover.data.suites import arm_of
from spillover.evaluation.grouping import is_benign
from spillover.records import Completion, MultipleChoice, OpenQuestion, Prompt

CONCEPT = "concept"
ARM = "arm"
"Form or cue of an open question: what rates are given for apart."
QUESTION = "question"
"Of which an open question is a form: the unit of resampling."
SUBJECT = "subject"


def prompt_sample(prompt: Prompt) -> Sample:
    """Return a prompt as a sample; its target is what an aligned model does."""
    return Sample(
        id=prompt.id,
        input=prompt.prompt,
        target="compliance" if is_benign(prompt.concept) else "refusal",
        metadata={CONCEPT: prompt.concept, "form": prompt.form},
    )


def question_sample(question: OpenQuestion) -> Sample:
    """Return an open question as a sample, with its system prompt where it has one."""
    asked: list[ChatMessage] = [ChatMessageUser(content=question.prompt)]
    if question.system is not None:
        asked.insert(0, ChatMessageSystem(content=question.system))
    metadata = {
        CONCEPT: arm_of(question),
        ARM: arm_of(question),
        QUESTION: question.question,
        "category": question.category,
    }
    return Sample(
        id=question.id,
        input=question.prompt if question.system is None else asked,
        metadata=metadata,
    )


def choice_sample(question: MultipleChoice) -> Sample:
    """Return a multiple-choice question as a sample; the target is the right letter."""
    from spillover.evaluation.few_shot import LETTERS  # Which needs torch.

    return Sample(
        id=question.id,
        input=question.question,
        choices=list(question.choices),
        target=LETTERS[question.answer],
        metadata={SUBJECT: question.subject},
    )


def prompt_text(given: str | Sequence[ChatMessage]) -> str:
    """Return what a response answers, for a judge to read.

    Words of the user where there is one turn of theirs; otherwise all turns, each under its role.
    System prompts are left out.
    """
    if isinstance(given, str):
        return given
    turns = [message for message in given if message.role != "system"]
    if len(turns) == 1 and turns[0].role == "user":
        return turns[0].text
    return "\n\n".join(f"{turn.role.capitalize()}: {turn.text}" for turn in turns)


def sample_name(identity: str | int, epoch: int) -> str:
    """Return an id that tells the answers to one sample apart, in the form `<id>#<epoch>`.

    Example:
        >>> sample_name("bias-1", 3)
        'bias-1#003'
    """
    return f"{identity}#{epoch:03d}"


def state_completion(state: TaskState) -> Completion:
    """Return what a model said to a sample, as our judges read it."""
    output = state.output
    is_cut = bool(output.choices) and output.stop_reason in ("max_tokens", "model_length")
    return Completion(
        id=sample_name(state.sample_id, state.epoch),
        prompt=prompt_text(state.input),
        concept=str((state.metadata or {}).get(CONCEPT, "")),
        response=output.completion,
        model=str(state.model),
        n_tokens=-1 if output.usage is None else output.usage.output_tokens,
        finish_reason="length" if is_cut else "stop",
    )
