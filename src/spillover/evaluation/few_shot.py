"""Multiple choice in the usual letter form: questions shown first, then the letter's probability.

The form of MMLU (2009.03300): subject, solved questions, the question with its choices, `Answer:`;
the choice is the letter with the highest next-token probability. Plain text, no chat template,
as published numbers are; `capability.answer_questions` is the form for chats.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from spillover.errors import ModelError
from spillover.models.batches import batches_by_length
from spillover.models.loading import LoadedModel
from spillover.models.logprobs import next_token_logprobs
from spillover.records import Answer, MultipleChoice

LETTERS = "ABCDEFGHIJ"
N_SHOTS = 5


def few_shot_prompt(question: MultipleChoice, shots: Sequence[MultipleChoice] = ()) -> str:
    """Return the text up to where the letter comes.

    Example:
        >>> question = MultipleChoice(
        ...     id="1", subject="high_school_art", question="Mix blue and yellow?",
        ...     choices=("Red", "Green"), answer=1,
        ... )
        >>> print(few_shot_prompt(question))
        The following are multiple choice questions (with answers) about high school art.
        <BLANKLINE>
        Mix blue and yellow?
        A. Red
        B. Green
        Answer:
    """
    solved = [f"{lettered_question(shot)} {LETTERS[shot.answer]}" for shot in shots]
    return "\n\n".join([subject_line(question.subject), *solved, lettered_question(question)])


def subject_line(subject: str) -> str:
    """Return the line that says what the questions are about."""
    about = subject.replace("_", " ")
    return f"The following are multiple choice questions (with answers) about {about}."


def lettered_question(question: MultipleChoice) -> str:
    """Return the question with a line for each choice and one for the answer."""
    lettered = [
        f"{letter}. {choice}" for letter, choice in zip(LETTERS, question.choices, strict=False)
    ]
    return "\n".join([question.question.strip(), *lettered, "Answer:"])


def answer_by_letter(
    loaded: LoadedModel,
    questions: Sequence[MultipleChoice],
    *,
    shots: Mapping[str, Sequence[MultipleChoice]] | None = None,
    batch_size: int = 16,
    on_answered: Callable[[int], None] = lambda _n: None,
) -> list[Answer]:
    """Choose, for each question, the letter with the highest next-token log-probability.

    Args:
        loaded: The model.
        questions: What to ask; at most ten choices each.
        shots: Solved questions to show first, by subject; None for none.
        batch_size: Questions asked at once.
        on_answered: Told how many more questions were answered.

    Raises:
        ModelError: If a subject has no shots although others have, or the tokenizer has no token
            of its own for each letter.
    """
    letters = _find_letters(loaded)
    prompts = [
        [*_plain_ids(loaded, few_shot_prompt(q, shots_of(q.subject, shots))), *letters.before]
        for q in questions
    ]
    chosen = [0] * len(questions)
    for indices in batches_by_length([len(ids) for ids in prompts], batch_size=batch_size):
        rows = next_token_logprobs(
            loaded.model,
            [prompts[i] for i in indices],
            pad_id=loaded.pad_id,
            batch_size=len(indices),
        )
        for index, row in zip(indices, rows, strict=True):
            own = letters.ids[: len(questions[index].choices)]
            chosen[index] = int(row[torch.tensor(own)].argmax())
        on_answered(len(indices))
    return [
        Answer(id=q.id, subject=q.subject, chosen=choice, is_correct=choice == q.answer)
        for q, choice in zip(questions, chosen, strict=True)
    ]


def shots_of(
    subject: str, shots: Mapping[str, Sequence[MultipleChoice]] | None
) -> Sequence[MultipleChoice]:
    """Return the solved questions of a subject; none where `shots` is None.

    Raises:
        ModelError: If the subject has no shots although others have.
    """
    if shots is None:
        return ()
    if subject not in shots:
        raise ModelError(
            f"subject {subject!r} has no questions to show first; "
            f"there are some for {', '.join(sorted(shots)) or 'no subject'}"
        )
    return shots[subject]


def _plain_ids(loaded: LoadedModel, text: str) -> list[int]:
    """Ids of plain text, with what the tokenizer itself puts before any text (a BOS or nothing)."""
    return list(loaded.tokenizer(text)["input_ids"])


@dataclass(frozen=True)
class _Letters:
    """The tokens of ` A`, ` B`, ...: what they begin with, and the one that tells them apart."""

    before: list[int]
    ids: list[int]


def _find_letters(loaded: LoadedModel) -> _Letters:
    """Find the letters' tokens where they stand, after `Answer:`."""
    context = _plain_ids(loaded, "Answer:")
    tails = [_plain_ids(loaded, f"Answer: {letter}")[len(context) :] for letter in LETTERS]
    before, ids = tails[0][:-1], [tail[-1] for tail in tails]
    if len(set(ids)) < len(LETTERS) or any(tail[:-1] != before for tail in tails):
        raise ModelError(
            f"{loaded.source}: its tokenizer has no token of its own for each of the letters "
            f"{LETTERS[0]} to {LETTERS[-1]}; score whole answers with `answer_questions`"
        )
    return _Letters(before, ids)


def shots_by_subject(
    questions: Sequence[MultipleChoice], *, n: int = N_SHOTS
) -> dict[str, list[MultipleChoice]]:
    """Return the first n questions of each subject, in file order."""
    found: dict[str, list[MultipleChoice]] = {}
    for question in questions:
        own = found.setdefault(question.subject, [])
        if len(own) < n:
            own.append(question)
    return found
