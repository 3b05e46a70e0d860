"""One model on one prompt file, outside of any study: completions, verdicts and scores."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spillover.data.concepts import BENIGN
from spillover.data.prompt_sets import load_prompts
from spillover.errors import ConfigError
from spillover.evaluation import over_refusal_scores, refusal_scores
from spillover.generation import EndpointGenerator, GenerationSettings, Generator, generate_cached
from spillover.judges import make_judge
from spillover.records import Prompt, Score
from spillover.study.artifacts import RunFolder, save_records, save_scores
from spillover.study.progress import Reporter


def evaluate_model(
    model: str,
    prompts_file: Path,
    out: Path,
    *,
    judge: str,
    settings: GenerationSettings,
    load_options: Mapping[str, Any],
    endpoint: str | None,
    api_key: str | None,
    reporter: Reporter,
) -> list[Score]:
    """Let a model answer a prompt file, judge it, and write everything under `out`.

    Args:
        model: What `load_model` takes, or the name of a model that `endpoint` serves.
        prompts_file: JSONL with prompt, concept and perhaps id.
        out: Gets `completions/`, `verdicts/`, `scores.json` and `scores.parquet`.
        judge: Name of a judge.
        settings: How to generate.
        load_options: More arguments of `load_model`.
        endpoint: Base URL of an OpenAI-compatible server; None loads the model here.
        api_key: For the endpoint.
        reporter: Where progress is shown.

    Returns:
        The refusal rates by concept, and over-refusal where there are benign prompts.

    Raises:
        InputError: If the judge, the prompts or the model cannot be used, or `out` holds a study.
        EndpointError: If the server left prompts without an answer.
    """
    folder = RunFolder(out)
    if folder.study.exists():
        raise ConfigError(
            f"{out}: holds the run of a study, whose scores would be overwritten; "
            "choose another --out"
        )
    judging = make_judge(judge)  # Before the model: a typo should not cost a load.
    prompts = load_prompts(prompts_file)
    name = os.path.basename(os.path.abspath(model))  # "." and ".." have a name, too.
    generator, source = _generator(model, name, load_options, endpoint, api_key)
    with reporter.task(f"{name}: answering", total=len(prompts)) as advance:
        completions = generate_cached(
            generator,
            prompts,
            settings=settings,
            source=source,
            folder=folder.cache,
            on_completion=lambda _completion: advance(1),
        )
    verdicts = judging.judge(completions)
    save_records(folder.completions(name), completions)
    save_records(folder.verdicts(name, judging.name), verdicts)
    scores = refusal_scores(
        [v for v in verdicts if v.concept not in BENIGN], model=name, seed=settings.seed
    )
    if _has_benign(prompts):
        benign = [v for v in verdicts if v.concept in BENIGN]
        scores += over_refusal_scores(benign, model=name, seed=settings.seed)
    save_scores(folder.scores, scores)
    return scores


def _has_benign(prompts: Sequence[Prompt]) -> bool:
    return any(prompt.concept in BENIGN for prompt in prompts)


def _generator(
    model: str,
    name: str,
    load_options: Mapping[str, Any],
    endpoint: str | None,
    api_key: str | None,
) -> tuple[Generator, str]:
    """Return who answers, and its identity for the cache."""
    if endpoint is not None:
        remote = EndpointGenerator(endpoint, model, name=name, api_key=api_key)
        return remote, f"{endpoint} {model}"
    from spillover.generation.hf import HFGenerator
    from spillover.models.loading import load_model

    loaded = load_model(model, **load_options)
    return HFGenerator(loaded, name), loaded.fingerprint
