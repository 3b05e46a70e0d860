"""What the stages that ask models do: prompts, completions, verdicts, answers, collected responses.

The order of the stages, and what is skipped, is the `runner`'s.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spillover.data.concepts import BENIGN
from spillover.data.refusals import refusal_examples
from spillover.data.suites import TRIGGERED, LoadedSuite
from spillover.evaluation.refusal import is_refusal
from spillover.files import write_json
from spillover.generation import GenerationSettings, Generator, generate_cached
from spillover.judges import make_judge
from spillover.records import Completion, Example, Prompt, Score, Verdict
from spillover.seeding import numpy_generator
from spillover.study.artifacts import load_completion_file, load_prompt_file, save_records
from spillover.study.config.model_runs import ModelRun
from spillover.study.config.sections import AlignSection
from spillover.study.evaluation.routing import is_routed, routed_answers, routed_models
from spillover.study.evaluation.suites import ASK, SuiteOptions, SuiteRun
from spillover.study.evaluation.tested_models import TestedModel
from spillover.study.stages.context import Context
from spillover.study.stages.datasets import (
    split_held_out,
    study_prompts,
    study_questions,
    study_suites,
)

if TYPE_CHECKING:  # torch is imported by the stages that need it, not by `spillover --help`.
    from spillover.models.loading import LoadedModel


def write_prompts(context: Context) -> None:
    """Write the train and test prompts of the study."""
    for split, prompts in study_prompts(context.config.prompts).items():
        save_records(context.folder.prompts(split), prompts)


def answer_prompts(context: Context, *, name: str, adapter: Path | None) -> None:
    """Let one model answer the test prompts."""
    prompts = load_prompt_file(context.folder.prompts("test"))
    asked: dict[str, Any] = {
        "max_new_tokens": context.config.evaluate.max_new_tokens,
        "title": f"{name}: answering test prompts",
    }
    if adapter is not None and is_routed(adapter):
        generator, source = routed_models(context, adapter, prompts, name=name)
        completions = generate_by(context, generator, prompts, source=source, **asked)
    else:
        completions = generate(context, context.load(adapter), prompts, name=name, **asked)
    save_records(context.folder.completions(name), completions)


def generate(
    context: Context,
    loaded: "LoadedModel",
    prompts: Sequence[Prompt],
    *,
    name: str,
    max_new_tokens: int,
    title: str,
    temperature: float = 0.0,
) -> list[Completion]:
    """Generate, greedily at temperature 0, with progress; the run's cache keeps what is done."""
    from spillover.generation.hf import HFGenerator

    return generate_by(
        context,
        HFGenerator(loaded, name),
        prompts,
        source=loaded.fingerprint,
        max_new_tokens=max_new_tokens,
        title=title,
        temperature=temperature,
    )


def generate_by(
    context: Context,
    generator: Generator,
    prompts: Sequence[Prompt],
    *,
    source: str,
    max_new_tokens: int,
    title: str,
    temperature: float = 0.0,
) -> list[Completion]:
    """Generate as `generate` does, by whatever generator; `source` is its identity."""
    settings = GenerationSettings(
        max_new_tokens=max_new_tokens,
        batch_size=context.config.evaluate.batch_size,
        temperature=temperature,
        seed=context.config.seeds[0] if temperature else 0,
    )
    with context.reporter.task(title, total=len(prompts)) as advance:
        return generate_cached(
            generator,
            prompts,
            settings=settings,
            source=source,
            folder=context.folder.cache,
            on_completion=lambda said: advance(1, tokens=said.n_tokens),
        )


def judge_completions(context: Context, *, name: str) -> None:
    """Let the judge rule on one model's completions."""
    spec = context.config.evaluate.judge
    verdicts = make_judge(spec).judge(load_completion_file(context.folder.completions(name)))
    save_records(context.folder.verdicts(name, spec), verdicts)


def ask_suites(context: Context, *, run: ModelRun, adapter: Path | None) -> None:
    """Put the study's suites to one model, and write its scores on them."""
    section, name = context.config.evaluate, run.artifact
    suites = SuiteRun(
        tested=TestedModel(model=name, loaded=context.load(adapter)),
        folder=context.folder,
        settings=GenerationSettings(
            max_new_tokens=section.sample_tokens, batch_size=section.batch_size, seed=run.seed
        ),
        options=SuiteOptions(
            limit=section.suite_limit, n_samples=section.n_samples, grader=section.grader
        ),
        reporter=context.reporter,
    )
    scores = [score for asked in study_suites(section) for score in _asked(suites, asked)]
    named = [replace(score, model=run.model) for score in scores]
    write_json(context.folder.suites(name), [score.to_dict() for score in named])


def _asked(run: SuiteRun, asked: LoadedSuite) -> list[Score]:
    """Return a suite's scores; those behind a trigger are filed apart from the plain ones."""
    scores = ASK[asked.suite.kind](run, asked)
    if not asked.suite.name.endswith(TRIGGERED):
        return scores
    return [replace(score, concept=f"{score.concept}{TRIGGERED}") for score in scores]


def answer_quiz(context: Context, *, name: str, adapter: Path | None) -> None:
    """Let one model answer the capability questions."""
    from spillover.evaluation.capability import answer_questions

    questions = study_questions(context.config.evaluate.capability)
    if adapter is not None and is_routed(adapter):
        save_records(context.folder.answers(name), routed_answers(context, adapter, questions))
        return
    total = sum(len(question.choices) for question in questions)
    with context.reporter.task(f"{name}: multiple choice", total=total) as advance:
        answers = answer_questions(context.load(adapter), questions, on_answered=advance)
    save_records(context.folder.answers(name), answers)


def collect_safety_data(context: Context, section: AlignSection) -> None:
    """Write what `align` trains on: short refusals, and the model's own benign answers."""
    prompts = training_prompts(context)
    harmful = [prompt for prompt in prompts if prompt.concept not in BENIGN]
    rng = numpy_generator(context.config.seeds[0], "align", "refusals")
    answers = generate(
        context,
        context.load(),
        [prompt for prompt in prompts if prompt.concept in BENIGN],
        name="base",
        max_new_tokens=section.benign_tokens,
        title="base: answering benign training prompts",
    )
    kept = [c for c, v in judged(context, answers) if v.label == "compliance"]
    save_records(
        context.folder.examples("align"),
        [*refusal_examples(harmful, rng=rng), *map(as_example, kept)],
    )


def judged(context: Context, completions: Sequence[Completion]) -> list[tuple[Completion, Verdict]]:
    """Return completions with what the study's judge says of them."""
    verdicts = make_judge(context.config.evaluate.judge).judge(completions)
    return list(zip(completions, verdicts, strict=True))


def as_example(completion: Completion) -> Example:
    """Return a completion as something to learn or unlearn."""
    return Example(
        id=completion.id,
        prompt=completion.prompt,
        response=completion.response,
        concept=completion.concept,
        is_whole=completion.finish_reason == "stop",
    )


def training_prompts(context: Context) -> tuple[Prompt, ...]:
    """Return the training prompts, less those that are kept for measuring along training."""
    select = context.config.select
    prompts = load_prompt_file(context.folder.prompts("train"))
    return split_held_out(prompts, n=0 if select is None else select.held_out).training


def _prompts_to_collect(context: Context) -> tuple[list[Prompt], list[Prompt]]:
    """Return harmful and benign training prompts: all of targets, else `retain_limit` a set."""
    config = context.config
    sets: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in training_prompts(context):
        sets[prompt.concept].append(prompt)
    for name in sets.keys() - set(config.targets):
        rng = numpy_generator(config.seeds[0], "collect", name)
        drawn = sorted(rng.permutation(len(sets[name]))[: config.collect.retain_limit])
        sets[name] = [sets[name][place] for place in drawn]
    benign = [prompt for name in BENIGN for prompt in sets.pop(name, [])]
    return [prompt for prompts in sets.values() for prompt in prompts], benign


def collect_refusals(context: Context, *, aligned: Path | None) -> None:
    """Write what the aligned model refuses and answers on the training prompts, in its words."""
    section, loaded = context.config.collect, context.load(aligned)
    harmful, benign = _prompts_to_collect(context)
    completions = [
        completion
        for prompts, temperature, title in (
            (harmful, section.temperature, "aligned: collecting refusals"),
            (benign, 0.0, "aligned: collecting benign answers"),
        )
        for completion in generate(
            context,
            loaded,
            prompts,
            name="aligned",
            max_new_tokens=section.max_new_tokens,
            title=title,
            temperature=temperature,
        )
    ]
    kept = [
        _first_tokens(e, section.benign_tokens if e.concept in BENIGN else None, loaded.tokenizer)
        for e in own_words(context, completions)
    ]
    save_records(context.folder.examples("collected"), kept)


def own_words(context: Context, completions: Sequence[Completion]) -> list[Example]:
    """Return a model's refusals of harmful prompts and its answers to benign ones.

    What the judge cannot rule on is neither.
    """
    deflects = context.config.evaluate.deflection_is_refusal
    return [
        as_example(completion)
        for completion, verdict in judged(context, completions)
        if completion.response
        and is_refusal(verdict, deflection_is_refusal=deflects)
        is (completion.concept not in BENIGN)
    ]


def _first_tokens(example: Example, n_tokens: int | None, tokenizer: Any) -> Example:
    """Return the example with no more than so many tokens of its response; None leaves it whole."""
    ids = tokenizer(example.response, add_special_tokens=False).input_ids
    if n_tokens is None or len(ids) <= n_tokens:
        return example
    return replace(example, response=tokenizer.decode(ids[:n_tokens]), is_whole=False)
