"""One model, one set of questions, lm-eval: answers, scores and lm-eval's own results on disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spillover.data.questions import bundled_questions
from spillover.data.suites import load_suites
from spillover.data.suites.asking import draw_items
from spillover.errors import ConfigError
from spillover.evaluation.capability import CONCEPT, JUDGE, subject_scores
from spillover.evaluation.few_shot import answer_by_letter
from spillover.files import write_json
from spillover.integrations.lm_eval import answer_in_lm_eval, differing_answers
from spillover.records import MultipleChoice, Score
from spillover.study.artifacts import RunFolder, save_records, save_scores
from spillover.study.evaluation.suites import shown_first
from spillover.study.evaluation.tested_models import open_model

LM_EVAL = "lm_eval"
"Judge of lm-eval's scores, before the form."


@dataclass(frozen=True, kw_only=True)
class LMEvalOptions:
    """Which questions are asked, and how."""

    suite: str | None = None
    "`mmlu` or another suite of choices, perhaps with `:FILE`; None for the bundled questions."
    shots: Path | None = None
    "Questions to show first; None for the published ones of the suite."
    n_shots: int = 5
    limit: int | None = None
    batch_size: int = 16
    seed: int = 0
    compare: bool = False
    "Whether to find our own answers too."


@dataclass(frozen=True, kw_only=True)
class LMEvalScores:
    """What a run in lm-eval gave."""

    scores: list[Score]
    n: int
    "Questions."
    differing: list[str] | None
    "Ids of the questions at which our own scoring chose otherwise; None where it was not asked."


@dataclass(frozen=True, kw_only=True)
class _Asked:
    questions: list[MultipleChoice]
    shots: dict[str, list[MultipleChoice]] | None
    name: str
    n_shots: int


def score_in_lm_eval(
    model: str, out: Path, *, options: LMEvalOptions, load_options: Mapping[str, Any]
) -> LMEvalScores:
    """Run a model in lm-eval and write what comes of it under `out`.

    Args:
        model: What `load_model` takes.
        out: Gets `answers/<model>__lm_eval.jsonl`, `lm_eval.json`, `scores.json` and
            `scores.parquet`; with `compare` also `answers/<model>__letters.jsonl`.
        options: Which questions, and how.
        load_options: More arguments of `load_model`.

    Raises:
        ConfigError: If lm-eval is not installed, the suite has no choices, or `out` holds a study.
        DataError: If the questions cannot be had.
        ModelError: If the model cannot be loaded, or a subject has no questions to show first.
    """
    folder = RunFolder(out)
    if folder.study.exists():
        raise ConfigError(
            f"{out}: holds the run of a study, whose scores would be overwritten; "
            "choose another --out"
        )
    asked = _asked(options)
    tested = open_model(model, load_options=load_options, endpoint=None, api_key=None)
    loaded = tested.local(need=LM_EVAL)
    run = answer_in_lm_eval(
        loaded, asked.questions, shots=asked.shots, batch_size=options.batch_size
    )
    answers = {LM_EVAL: list(run.answers)}
    if options.compare:
        answers[JUDGE] = answer_by_letter(
            loaded, asked.questions, shots=asked.shots, batch_size=options.batch_size
        )
    scores = []
    for judge, own in answers.items():
        file = "lm_eval" if judge == LM_EVAL else "letters"
        save_records(folder.path / "answers" / f"{tested.name}__{file}.jsonl", own)
        scores += subject_scores(
            own,
            model=tested.name,
            seed=options.seed,
            concept=asked.name,
            judge=f"{judge}_letters_{asked.n_shots}_shots",
        )
    write_json(folder.path / "lm_eval.json", {"version": run.version, "results": run.results})
    save_scores(folder.scores, scores)
    differing = differing_answers(answers[JUDGE], run.answers) if options.compare else None
    return LMEvalScores(scores=scores, n=len(asked.questions), differing=differing)


def _asked(options: LMEvalOptions) -> _Asked:
    if options.suite is None:
        drawn = draw_items(
            bundled_questions(), limit=options.limit, seed=options.seed, name=CONCEPT
        )
        return _Asked(questions=list(drawn), shots=None, name=CONCEPT, n_shots=0)
    suites = load_suites(options.suite, limit=options.limit, seed=options.seed)
    questions = [question for suite in suites for question in suite.of(MultipleChoice)]
    if not questions:
        raise ConfigError(f"suite {options.suite}: has no multiple choice; give mmlu or mmlu:FILE")
    (suite,) = suites
    shots = shown_first(suite, given=options.shots, n=options.n_shots)
    return _Asked(
        questions=questions,
        shots=shots,
        name=suite.suite.name,
        n_shots=options.n_shots if shots else 0,
    )
