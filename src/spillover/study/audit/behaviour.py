"""One side of an audit, asked: completions, verdicts, choices, margins, each to its file.

Knows one model at a time; comparisons are made from the files.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from spillover.generation import (
    EndpointGenerator,
    GenerationSettings,
    Generator,
    generate_cached,
)
from spillover.judges import make_judge
from spillover.records import AnswerPair, MultipleChoice, Prompt
from spillover.study.artifacts import RunFolder, load_completion_file, save_records
from spillover.study.audit.budget import PAIRS
from spillover.study.audit.models import Side
from spillover.study.progress import Reporter

if TYPE_CHECKING:
    from spillover.models.loading import LoadedModel

FORM: Literal["pivotal"] = "pivotal"
"Of the margins: endings that part after the same beginning; 2502.17424, 4.7."


def margins_file(folder: RunFolder, role: str) -> Path:
    """Where a side's margins lie."""
    return folder.margins(role, f"{PAIRS}_{FORM}")


def answer_prompts(
    side: Side,
    loaded: "LoadedModel | None",
    folder: RunFolder,
    *,
    prompts: Sequence[Prompt],
    settings: GenerationSettings,
    api_key: str | None,
    reporter: Reporter,
) -> None:
    """Ask one side every prompt; what is answered stays in the cache, whatever happens.

    Raises:
        EndpointError: If a server left prompts without an answer.
    """
    with reporter.task(f"{side.role}: answering", total=len(prompts)) as advance:
        completions = generate_cached(
            _generator(side, loaded, api_key=api_key),
            prompts,
            settings=settings,
            source=side.identity,
            folder=folder.cache,
            on_completion=lambda said: advance(1, tokens=said.n_tokens),
        )
    save_records(folder.completions(side.role), completions)


def _generator(side: Side, loaded: "LoadedModel | None", *, api_key: str | None) -> Generator:
    if loaded is None:
        return EndpointGenerator(side.endpoint, side.served_name, name=side.role, api_key=api_key)
    from spillover.generation.hf import HFGenerator

    return HFGenerator(loaded, side.role)


def judge_answers(side: Side, folder: RunFolder, *, judge: str, reporter: Reporter) -> None:
    """Let the judge rule on what one side said."""
    completions = load_completion_file(folder.completions(side.role))
    with reporter.task(f"{side.role}: judging", total=1) as advance:
        verdicts = make_judge(judge).judge(completions)
        advance(1)
    save_records(folder.verdicts(side.role, judge), verdicts)


def answer_quiz(
    side: Side,
    loaded: "LoadedModel",
    folder: RunFolder,
    *,
    questions: Sequence[MultipleChoice],
    batch_size: int,
    reporter: Reporter,
) -> None:
    """Let one side choose at the capability questions."""
    from spillover.evaluation.capability import answer_questions

    n_choices = sum(len(question.choices) for question in questions)
    with reporter.task(f"{side.role}: capability", total=n_choices) as advance:
        answers = answer_questions(loaded, questions, batch_size=batch_size, on_answered=advance)
    save_records(folder.answers(side.role), answers)


def take_margins(
    side: Side,
    loaded: "LoadedModel",
    folder: RunFolder,
    *,
    pairs: Sequence[AnswerPair],
    batch_size: int,
    reporter: Reporter,
) -> None:
    """Take one side's margins of aligned over misaligned endings; no judge."""
    from spillover.evaluation.alignment_probes import pair_margins

    with reporter.task(f"{side.role}: margins", total=1) as advance:
        margins = pair_margins(loaded, pairs, form=FORM, batch_size=batch_size)
        advance(1)
    save_records(margins_file(folder, side.role), margins)
