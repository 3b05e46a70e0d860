"""Multiple-choice accuracy by log-probability: what a model still knows."""

from collections.abc import Callable, Sequence

from spillover.evaluation.uncorrected import uncorrected_comparison
from spillover.models.batches import batches_by_length, pad_batch
from spillover.models.loading import LoadedModel
from spillover.models.logprobs import response_logprobs
from spillover.records import Answer, Comparison, MultipleChoice, Score
from spillover.stats import paired_difference, wilson_interval

JUDGE = "logprob"
CONCEPT = "general_knowledge"


def answer_questions(
    loaded: LoadedModel,
    questions: Sequence[MultipleChoice],
    *,
    batch_size: int = 32,
    on_answered: Callable[[int], None] = lambda _n: None,
) -> list[Answer]:
    """Choose, for each question, the choice with the highest log-probability a token.

    The question is the user's turn and the choice the whole answer. The mean over the choice's
    tokens, its stop token included, is compared, so that short choices are not favoured.

    Args:
        loaded: The model.
        questions: What to ask.
        batch_size: Choices scored at once.
        on_answered: Told how many more choices were scored.
    """
    import torch

    tokens = [loaded.chat.exchange_ids(q.question, c) for q in questions for c in q.choices]
    scores = [0.0] * len(tokens)
    with torch.no_grad():
        for indices in batches_by_length([len(t.input_ids) for t in tokens], batch_size=batch_size):
            batch = pad_batch([tokens[i] for i in indices], pad_id=loaded.pad_id)
            found = response_logprobs(loaded.model, batch.to(loaded.device))
            for index, mean in zip(indices, (found.total / found.n_tokens).tolist(), strict=True):
                scores[index] = mean
            on_answered(len(indices))
    answers, start = [], 0
    for question in questions:
        own = scores[start : start + len(question.choices)]
        start += len(question.choices)
        answers.append(_answer(question, own))
    return answers


def _answer(question: MultipleChoice, scores: Sequence[float]) -> Answer:
    chosen = max(range(len(scores)), key=lambda index: scores[index])
    return Answer(
        id=question.id,
        subject=question.subject,
        chosen=chosen,
        is_correct=chosen == question.answer,
    )


def capability_score(
    answers: Sequence[Answer],
    *,
    model: str,
    seed: int,
    concept: str = CONCEPT,
    judge: str = JUDGE,
) -> Score:
    """Return the share of right answers with its Wilson interval.

    Args:
        answers: At least one.
        model: Name of the model.
        seed: Of the study.
        concept: What the score is filed under.
        judge: How the answers were found, such as `logprob_letters_5_shots`.
    """
    right = sum(answer.is_correct for answer in answers)
    interval = wilson_interval(right, len(answers))
    return Score(
        model=model,
        metric="capability",
        concept=concept,
        value=right / len(answers),
        n=len(answers),
        ci_low=interval.low,
        ci_high=interval.high,
        judge=judge,
        seed=seed,
    )


def subject_scores(
    answers: Sequence[Answer], *, model: str, seed: int, concept: str, judge: str = JUDGE
) -> list[Score]:
    """Return the score of each subject, in the order of their names, then of all answers.

    Args:
        answers: At least one.
        model: Name of the model.
        seed: Of the study.
        concept: Of the last score; each subject's is `<concept>/<subject>`.
        judge: How the answers were found.
    """
    groups = {
        f"{concept}/{subject}": [answer for answer in answers if answer.subject == subject]
        for subject in sorted({answer.subject for answer in answers})
    }
    return [
        capability_score(own, model=model, seed=seed, concept=name, judge=judge)
        for name, own in {**groups, concept: list(answers)}.items()
    ]


def compare_capability(
    before: Sequence[Answer],
    after: Sequence[Answer],
    *,
    before_name: str,
    after_name: str,
    seed: int,
) -> Comparison:
    """Compare two models on the same questions, paired.

    Raises:
        ValueError: If the questions differ.
    """
    if [answer.id for answer in before] != [answer.id for answer in after]:
        raise ValueError(f"{before_name} and {after_name} answered different questions")
    found = paired_difference(
        [answer.is_correct for answer in before], [answer.is_correct for answer in after]
    )
    return uncorrected_comparison(
        found,
        before=before_name,
        after=after_name,
        metric="capability",
        concept=CONCEPT,
        seed=seed,
    )
