"""Turns a loaded model and multiple-choice questions into answers found by lm-eval.

lm-eval builds the prompts, runs the model (its `HFLM`) and scores, in the form of its MMLU tasks;
the questions and the questions shown first are ours or the user's, so nothing is downloaded.
`evaluation.few_shot` is our own way to the same answers. Needs the extra `lmeval`.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

from spillover.errors import ConfigError
from spillover.evaluation.few_shot import LETTERS, lettered_question, shots_of, subject_line
from spillover.models.loading import LoadedModel
from spillover.records import Answer, MultipleChoice, Record


@dataclass(frozen=True, kw_only=True)
class LMEvalRun(Record):
    """What lm-eval found."""

    version: str
    "Of lm-eval."
    answers: tuple[Answer, ...]
    "In the order of the questions."
    results: Mapping[str, Mapping[str, Any]]
    "By subject, as lm-eval reports them: `acc,none` and the like."


def answer_in_lm_eval(
    loaded: LoadedModel,
    questions: Sequence[MultipleChoice],
    *,
    shots: Mapping[str, Sequence[MultipleChoice]] | None = None,
    batch_size: int = 16,
) -> LMEvalRun:
    """Run a model on questions in lm-eval, by the letter with the highest log-probability.

    Log-probabilities are taken in float32, as ours are. In bfloat16 two letters can still be so
    close that another padding decides between them; in float32 both ways agree. Prompts longer than
    the model's context lose their beginning in lm-eval.

    Args:
        loaded: The model, which is left as it is.
        questions: What to ask; at most ten choices each. One task is made for each subject.
        shots: Solved questions to show first, by subject; None for none.
        batch_size: Questions asked at once.

    Raises:
        ConfigError: If lm-eval is not installed, or there is no question.
        ModelError: If a subject has no shots although others have.
    """
    if not questions:
        raise ConfigError("there are no questions; give at least one")
    evaluator = _require("lm_eval.evaluator")
    subjects = {
        subject: [question for question in questions if question.subject == subject]
        for subject in dict.fromkeys(question.subject for question in questions)
    }
    found = evaluator.evaluate(
        lm=_wrapped(loaded, batch_size=batch_size),
        task_dict={
            "tasks": {
                subject: _task(subject, own, shots_of(subject, shots))
                for subject, own in subjects.items()
            },
            "groups": {},
        },
        bootstrap_iters=0,
    )
    by_id = {
        sample["doc"]["id"]: _answer(sample)
        for samples in found["samples"].values()
        for sample in samples
    }
    return LMEvalRun(
        version=metadata.version("lm-eval"),
        answers=tuple(by_id[question.id] for question in questions),
        results={subject: dict(found["results"][subject]) for subject in subjects},
    )


def differing_answers(ours: Sequence[Answer], theirs: Sequence[Answer]) -> list[str]:
    """Return the ids of the questions at which two runs chose differently.

    Raises:
        ValueError: If they did not answer the same questions in the same order.
    """
    if [answer.id for answer in ours] != [answer.id for answer in theirs]:
        raise ValueError("the answers are to different questions; give both the same ones")
    return [a.id for a, b in zip(ours, theirs, strict=True) if a.chosen != b.chosen]


def _require(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"lm-eval cannot be imported ({error}); install it with `pip install spillover[lmeval]`"
        ) from error


def _wrapped(loaded: LoadedModel, *, batch_size: int) -> Any:
    """Return lm-eval's wrapper of the model; it may set a pad token, so the tokenizer is a copy."""
    return _require("lm_eval.models.huggingface").HFLM(
        pretrained=loaded.model,
        tokenizer=copy.deepcopy(loaded.tokenizer),
        backend="causal",
        batch_size=batch_size,
        softmax_dtype="float32",
    )


def _task(
    subject: str, questions: Sequence[MultipleChoice], shots: Sequence[MultipleChoice]
) -> Any:
    """Return a task of lm-eval: names in its configuration are columns of the rows."""
    table = _require("datasets").Dataset
    splits = {"test": table.from_list([_row(question) for question in questions])}
    if shots:
        splits["dev"] = table.from_list([_row(shot) for shot in shots])
    return _require("lm_eval.api.task").ConfigurableTask(
        config={
            "task": subject,
            "custom_dataset": lambda: splits,
            "test_split": "test",
            "fewshot_split": "dev" if shots else None,
            "fewshot_config": {"sampler": "first_n"},
            "num_fewshot": len(shots),
            "output_type": "multiple_choice",
            "description": "header",
            "doc_to_text": "text",
            "doc_to_choice": "letters",
            "doc_to_target": "answer",
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        }
    )


def _row(question: MultipleChoice) -> dict[str, Any]:
    return {
        "id": question.id,
        "subject": question.subject,
        "header": f"{subject_line(question.subject)}\n\n",
        "text": lettered_question(question),
        "letters": list(LETTERS[: len(question.choices)]),
        "answer": question.answer,
    }


def _answer(sample: Mapping[str, Any]) -> Answer:
    logprobs = [float(logprob) for logprob, _is_greedy in sample["filtered_resps"]]
    return Answer(
        id=str(sample["doc"]["id"]),
        subject=str(sample["doc"]["subject"]),
        chosen=logprobs.index(max(logprobs)),
        is_correct=bool(sample["acc"]),
    )
