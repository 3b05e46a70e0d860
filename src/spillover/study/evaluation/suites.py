"""One suite, one model: items in, scores out, and what the model said on disk.

Suites of prompts are asked together with a prompt file; see `evaluate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spillover.data.suites import LoadedSuite, question_of, sample_prompts
from spillover.data.suites.sources import find_file
from spillover.evaluation.misalignment import graded_from_verdicts, misalignment_scores
from spillover.generation import GenerationSettings, generate_cached
from spillover.judges import Judge, make_judge
from spillover.records import (
    AnswerPair,
    Completion,
    GradedAnswer,
    MultipleChoice,
    OpenQuestion,
    Prompt,
    Score,
    TruthQuestion,
)
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.artifacts import RunFolder, save_records
from spillover.study.evaluation.tested_models import TestedModel
from spillover.study.progress import Reporter


@dataclass(frozen=True, kw_only=True)
class SuiteOptions:
    """How suites are asked."""

    limit: int | None = None
    "Most items of a suite; drawn with the seed."
    n_samples: int = 50
    "Answers to each open question."
    shots: Path | None = None
    "Questions to show first, where the protocol shows some; None for the published ones."
    n_shots: int = 5
    "How many of them a subject; 0 shows none."
    grader: str | None = None
    "What stands after the @ of the judge that grades open answers; None leaves them ungraded."


@dataclass(frozen=True, kw_only=True)
class SuiteRun:
    """A model that is asked, and where what comes of it goes."""

    tested: TestedModel
    folder: RunFolder
    settings: GenerationSettings
    options: SuiteOptions
    reporter: Reporter

    def file(self, what: str, suite: str) -> Path:
        """Where records of a kind lie for this model and a suite."""
        return self.folder.path / what / f"{self.tested.name}__{suite}.jsonl"


def ask_choices(run: SuiteRun, asked: LoadedSuite) -> list[Score]:
    """Score multiple choice: by letter where the suite shows questions first, else whole answers.

    Raises:
        ConfigError: If a server has the model.
        DataError: If the questions to show first cannot be had.
    """
    from spillover.evaluation.capability import JUDGE, answer_questions, subject_scores
    from spillover.evaluation.few_shot import answer_by_letter

    suite, questions = asked.suite, asked.of(MultipleChoice)
    loaded = run.tested.local(need=f"suite {suite.name}")
    batch_size = run.settings.batch_size
    if suite.shots is None:
        judge = JUDGE
        answers = answer_questions(loaded, questions, batch_size=batch_size)
    else:
        n_shots = run.options.n_shots
        shown = shown_first(asked, given=run.options.shots, n=n_shots)
        judge = f"{JUDGE}_letters_{n_shots}_shots"
        with run.reporter.task(f"{suite.name}: answering", total=len(questions)) as advance:
            answers = answer_by_letter(
                loaded, questions, shots=shown, batch_size=batch_size, on_answered=advance
            )
    save_records(run.file("answers", suite.name), answers)
    return subject_scores(
        answers, model=run.tested.name, seed=run.settings.seed, concept=suite.name, judge=judge
    )


def shown_first(
    asked: LoadedSuite, *, given: Path | None, n: int
) -> dict[str, list[MultipleChoice]] | None:
    """Return the solved questions that a suite shows first, by subject; None where it shows none.

    Args:
        asked: The suite.
        given: The user's file of them; None for the published one.
        n: How many a subject; 0 shows none.

    Raises:
        DataError: If they cannot be had.
    """
    from spillover.evaluation.few_shot import shots_by_subject

    published = asked.suite.shots
    if published is None or not n:
        return None
    file = find_file(published, suite=f"{asked.suite.name} (--shots)", given=given)
    questions = [item for item in asked.suite.read(file) if isinstance(item, MultipleChoice)]
    return shots_by_subject(questions, n=n)


def ask_truth(run: SuiteRun, asked: LoadedSuite) -> list[Score]:
    """Score TruthfulQA's multiple choice.

    Raises:
        ConfigError: If a server has the model.
    """
    from spillover.evaluation.truthfulness import answer_truthfulqa, truthfulness_scores

    loaded = run.tested.local(need=f"suite {asked.suite.name}")
    answers = answer_truthfulqa(loaded, asked.of(TruthQuestion), batch_size=run.settings.batch_size)
    save_records(run.file("answers", asked.suite.name), answers)
    return truthfulness_scores(answers, model=run.tested.name, seed=run.settings.seed)


def ask_pairs(run: SuiteRun, asked: LoadedSuite) -> list[Score]:
    """Score pairs of answers in both forms.

    Raises:
        ConfigError: If a server has the model.
    """
    from spillover.evaluation.alignment_probes import ProbeForm, pair_margins, probe_scores

    loaded = run.tested.local(need=f"suite {asked.suite.name}")
    forms: tuple[ProbeForm, ...] = ("pivotal", "choice")
    scores: list[Score] = []
    for form in forms:
        margins = pair_margins(
            loaded, asked.of(AnswerPair), form=form, batch_size=run.settings.batch_size
        )
        save_records(run.file("margins", f"{asked.suite.name}_{form}"), margins)
        scores += probe_scores(margins, form=form, model=run.tested.name, seed=run.settings.seed)
    return scores


def ask_open(run: SuiteRun, asked: LoadedSuite) -> list[Score]:
    """Sample answers to open questions and, if there is a grader, score them.

    Sampling is at temperature 1 unless another one above 0 is set: n greedy answers to a question
    would be n times the same.
    """
    name, questions = asked.suite.name, asked.of(OpenQuestion)
    completions = _samples(run, questions, title=f"{name}: answering")
    save_records(run.file("samples", name), completions)
    if run.options.grader is None:
        run.reporter.say(
            f"{name}: {len(completions)} answers are in {run.file('samples', name)}, ungraded; "
            "the same command with --grader gives the rates"
        )
        return []
    by_id = {question.id: question.question for question in questions}
    asked_ids = [by_id[question_of(completion.id)] for completion in completions]
    judges = [make_judge(f"llm:{rubric}@{run.options.grader}") for rubric in RUBRICS]
    graded = _grade(judges, completions, asked_ids)
    save_records(run.file("graded", name), graded)
    return misalignment_scores(
        graded,
        model=run.tested.name,
        judge=judges[0].name,
        seed=run.settings.seed,
        rng=numpy_generator(run.settings.seed, "misalignment", name),
    )


RUBRICS = ("alignment", "coherence")
"What open answers are graded by."


def _grade(
    judges: Sequence[Judge], completions: Sequence[Completion], questions: Sequence[str]
) -> list[GradedAnswer]:
    alignment, coherence = (judge.judge(completions) for judge in judges)
    return graded_from_verdicts(alignment, coherence, questions=questions)


def _samples(run: SuiteRun, questions: Sequence[OpenQuestion], *, title: str) -> list[Completion]:
    """Sample answers, in the order of the questions within each system prompt."""
    n, settings = run.options.n_samples, run.settings
    if settings.temperature == 0:
        settings = replace(settings, temperature=1.0)
    found: list[Completion] = []
    with run.reporter.task(title, total=n * len(questions)) as advance:
        for system in dict.fromkeys(question.system for question in questions):
            own = [question for question in questions if question.system == system]
            answerer = run.tested.answerer(system=system, many_samples=True)
            for prompts, seed in _portions(run, sample_prompts(own, n=n)):
                found += generate_cached(
                    answerer.generator,
                    prompts,
                    settings=replace(settings, seed=seed),
                    source=answerer.source,
                    folder=run.folder.cache,
                    on_completion=lambda said: advance(1, tokens=said.n_tokens),
                )
    return found


def _portions(run: SuiteRun, prompts: list[Prompt]) -> list[tuple[list[Prompt], int]]:
    """Return prompts with the seed to ask them with.

    A server draws a request's tokens from the seed alone, so each sample has to come with its own.
    """
    seed = run.settings.seed
    if run.tested.loaded is not None:
        return [(prompts, seed)]
    samples = dict.fromkeys(prompt.id.rpartition("#")[2] for prompt in prompts)
    return [
        (
            [prompt for prompt in prompts if prompt.id.endswith(f"#{sample}")],
            derive_seed(seed, "sample", sample),
        )
        for sample in samples
    ]


ASK = {"choices": ask_choices, "truth": ask_truth, "pairs": ask_pairs, "open": ask_open}
"How each kind of suite is asked, but for prompts, which `evaluate` asks together."
