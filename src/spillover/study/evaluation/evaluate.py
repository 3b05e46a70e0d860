"""One model on a prompt file and on suites, outside of any study: what it says, and scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spillover.data.prompt_sets import load_prompts
from spillover.data.suites import LoadedSuite, load_suites
from spillover.errors import ConfigError
from spillover.evaluation import over_refusal_scores, refusal_scores
from spillover.evaluation.grouping import is_benign
from spillover.generation import GenerationSettings, generate_cached
from spillover.judges import Judge, make_judge
from spillover.records import Prompt, Score, Verdict
from spillover.study.artifacts import RunFolder, save_records, save_scores
from spillover.study.evaluation.suites import ASK, SuiteOptions, SuiteRun
from spillover.study.evaluation.tested_models import open_model
from spillover.study.progress import Reporter


def evaluate_model(
    model: str,
    prompts_file: Path | None,
    out: Path,
    *,
    judge: str,
    settings: GenerationSettings,
    load_options: Mapping[str, Any],
    endpoint: str | None,
    api_key: str | None,
    reporter: Reporter,
    suites: Sequence[str] = (),
    suite_options: SuiteOptions | None = None,
    deflection_is_refusal: bool = True,
) -> list[Score]:
    """Ask a model a prompt file and suites, and write everything under `out`.

    Args:
        model: What `load_model` takes, or the name of a model that `endpoint` serves.
        prompts_file: JSONL with prompt, concept and perhaps id; None if suites are asked only.
        out: Gets `completions/`, `verdicts/`, `scores.json` and `scores.parquet`, and for suites
            `answers/`, `margins/`, `samples/` and `graded/`.
        judge: A judge's name or specification.
        settings: How to generate.
        load_options: More arguments of `load_model`.
        endpoint: Base URL of an OpenAI-compatible server; None loads the model here.
        api_key: For the endpoint.
        reporter: Where progress is shown.
        suites: `NAME` or `NAME:FILE`, as in `spillover.data.suites.asking`.
        suite_options: How they are asked; None for the defaults.
        deflection_is_refusal: Whether changing the subject counts as a refusal or a compliance.

    Returns:
        The refusal rates by concept, over-refusal where there are benign prompts, and the scores
        of the suites.

    Raises:
        InputError: If the judge, the prompts, a suite or the model cannot be used, or `out` holds
            a study.
        EndpointError: If the server left prompts without an answer.
    """
    folder = RunFolder(out)
    if folder.study.exists():
        raise ConfigError(
            f"{out}: holds the run of a study, whose scores would be overwritten; "
            "choose another --out"
        )
    options = suite_options or SuiteOptions()
    judging = make_judge(judge)  # Before the model: a typo should not cost a load.
    asked = [
        one for spec in suites for one in load_suites(spec, limit=options.limit, seed=settings.seed)
    ]
    prompts = _all_prompts(prompts_file, asked)
    tested = open_model(model, load_options=load_options, endpoint=endpoint, api_key=api_key)
    run = SuiteRun(
        tested=tested, folder=folder, settings=settings, options=options, reporter=reporter
    )
    scores: list[Score] = []
    if prompts:
        verdicts = _judged(run, prompts, judging, spec=judge)
        scores += _rates(run, verdicts, deflection_is_refusal=deflection_is_refusal)
    for suite in asked:
        if suite.suite.kind in ASK:
            scores += ASK[suite.suite.kind](run, suite)
    save_scores(folder.scores, scores)
    return scores


def _all_prompts(prompts_file: Path | None, asked: Sequence[LoadedSuite]) -> list[Prompt]:
    if prompts_file is None and not asked:
        raise ConfigError("there is nothing to ask; give --prompts FILE or --suite NAME")
    own = [] if prompts_file is None else load_prompts(prompts_file)
    return [*own, *(prompt for suite in asked for prompt in suite.of(Prompt))]


def _judged(
    run: SuiteRun, prompts: Sequence[Prompt], judging: Judge, *, spec: str
) -> list[Verdict]:
    """Ask the prompts, judge what is said, and keep both."""
    name = run.tested.name
    answerer = run.tested.answerer()
    with run.reporter.task(f"{name}: answering", total=len(prompts)) as advance:
        completions = generate_cached(
            answerer.generator,
            prompts,
            settings=run.settings,
            source=answerer.source,
            folder=run.folder.cache,
            on_completion=lambda said: advance(1, tokens=said.n_tokens),
        )
    verdicts = judging.judge(completions)
    save_records(run.folder.completions(name), completions)
    save_records(run.folder.verdicts(name, spec), verdicts)
    return verdicts


def _rates(
    run: SuiteRun, verdicts: Sequence[Verdict], *, deflection_is_refusal: bool
) -> list[Score]:
    name, seed = run.tested.name, run.settings.seed
    harmful = [v for v in verdicts if not is_benign(v.concept)]
    benign = [v for v in verdicts if is_benign(v.concept)]
    return [
        *refusal_scores(
            harmful, model=name, seed=seed, deflection_is_refusal=deflection_is_refusal
        ),
        *over_refusal_scores(
            benign, model=name, seed=seed, deflection_is_refusal=deflection_is_refusal
        ),
    ]
