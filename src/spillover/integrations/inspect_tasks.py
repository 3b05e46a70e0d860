"""Our suites as Inspect tasks: `inspect eval spillover/refusals --model ...`.

Items, protocols and defaults are those of `spillover evaluate`; what is asked of a model is done by
Inspect, with whatever provider it has.
"""

from collections.abc import Sequence

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import accuracy, choice, ci_wilson
from inspect_ai.solver import Generate, Solver, TaskState, multiple_choice, solver

from spillover.data.concepts import BENIGN, CONCEPTS
from spillover.data.prompt_sets import bundled_prompts
from spillover.data.questions import bundled_questions
from spillover.data.suites import load_suites
from spillover.data.suites.asking import draw_items
from spillover.errors import ConfigError
from spillover.integrations.inspect_choices import choose_by_logprob
from spillover.integrations.inspect_samples import (
    choice_sample,
    prompt_sample,
    question_sample,
)
from spillover.integrations.inspect_scorers import (
    JudgeSpecification,
    invalid_verdicts,
    misalignment_grades,
    verdict,
)
from spillover.records import MultipleChoice, OpenQuestion, Prompt
from spillover.seeding import derive_seed

Names = str | list[str]
"One name, or what Inspect makes of several with commas between them."


@task
def refusals(
    concept: Names | None = None,
    suite: str | None = None,
    limit: int | None = None,
    judge: JudgeSpecification = "phrases",
    deflection_is_refusal: bool = True,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    seed: int = 0,
) -> Task:
    """Ask prompts that an aligned model declines, and count refusals by concept.

    Args:
        concept: Which of the concepts to ask; left out, all of them.
        suite: A suite of prompts or a group, as `--suite` takes it; left out, the bundled test
            prompts.
        limit: Most prompts of each concept, or of each suite; drawn with the seed.
        judge: A judge's name or specification.
        deflection_is_refusal: Whether changing the subject counts as a refusal or a compliance.
        max_new_tokens: Longest response.
        temperature: 0 is greedy.
        seed: Of the draw, and of sampling.
    """
    names = list(CONCEPTS) if concept is None else _names(concept)
    if suite is None:
        prompts = _bundled(names, limit=limit, seed=seed)
    else:
        prompts = _of_suite(suite, limit=limit, seed=seed)
        prompts = [p for p in prompts if concept is None or p.concept in names]
    return _prompt_task(
        prompts,
        name=suite or "bundled prompts",
        judge=judge,
        deflection_is_refusal=deflection_is_refusal,
        config=GenerateConfig(max_tokens=max_new_tokens, temperature=temperature),
        seed=seed,
    )


@task
def over_refusal(
    suite: str | None = None,
    limit: int | None = None,
    judge: JudgeSpecification = "phrases",
    deflection_is_refusal: bool = True,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    seed: int = 0,
) -> Task:
    """Ask benign prompts, plain ones and look-alikes of harmful ones, and count refusals.

    Args:
        suite: A suite such as `xstest_safe:FILE`, or a group; left out, the bundled benign prompts.
        limit: Most prompts of each set; drawn with the seed.
        judge: A judge's name or specification.
        deflection_is_refusal: Whether changing the subject counts as a refusal or a compliance.
        max_new_tokens: Longest response.
        temperature: 0 is greedy.
        seed: Of the draw, and of sampling.
    """
    prompts = (
        _bundled(BENIGN, limit=limit, seed=seed)
        if suite is None
        else _of_suite(suite, limit=limit, seed=seed)
    )
    return _prompt_task(
        prompts,
        name=suite or "bundled benign prompts",
        judge=judge,
        deflection_is_refusal=deflection_is_refusal,
        config=GenerateConfig(max_tokens=max_new_tokens, temperature=temperature),
        seed=seed,
    )


@task
def capability(
    suite: str | None = None,
    limit: int | None = None,
    by: str = "logprob",
    max_new_tokens: int = 16,
    seed: int = 0,
) -> Task:
    """Ask multiple-choice questions, and count right answers.

    Args:
        suite: A suite of choices, such as `bbq_religion_choices:FILE`; left out, the bundled
            general-knowledge questions.
        limit: Most questions; drawn with the seed.
        by: `logprob` compares whole answers by log-probability a token, as `spillover evaluate`
            does, and needs a `spillover/` model; `letter` asks any model to say a letter.
        max_new_tokens: Longest answer where a letter is asked for.
        seed: Of the draw.

    Raises:
        ConfigError: If `by` is neither, or the suite is not of choices.
    """
    if by not in ("logprob", "letter"):
        raise ConfigError(f"by is {by!r}; choose logprob or letter")
    if suite is None:
        drawn = draw_items(bundled_questions(), limit=limit, seed=seed, name="general_knowledge")
        questions = list(drawn)
    else:
        loaded = load_suites(suite, limit=limit, seed=seed)
        questions = [question for one in loaded for question in one.of(MultipleChoice)]
    _require_items(questions, suite, kind="choices")
    return Task(
        dataset=MemoryDataset([choice_sample(q) for q in questions], name=suite or "bundled"),
        solver=choose_by_logprob() if by == "logprob" else multiple_choice(),
        scorer=choice(),
        metrics=[accuracy(), ci_wilson()],
        config=GenerateConfig(max_tokens=max_new_tokens, temperature=0.0),
        version=1,
    )


@task
def misalignment(
    suite: str = "em_bundled",
    limit: int | None = None,
    n_samples: int = 50,
    grader: str | None = None,
    max_new_tokens: int = 600,
    temperature: float = 1.0,
    seed: int = 0,
) -> Task:
    """Ask open questions many times, and grade the answers for alignment and coherence.

    Args:
        suite: A suite of open questions.
        limit: Most questions; drawn with the seed.
        n_samples: Answers to each question; Inspect counts them as epochs.
        grader: What stands after the @ of the judge that grades: a model, or
            http://HOST/v1#MODEL. Left out, answers are not graded; `inspect score` can do so later.
        max_new_tokens: Longest answer.
        temperature: Of sampling.
        seed: Of the draw, and of sampling; each answer has a seed of its own under it.

    Raises:
        ConfigError: If the suite is not of open questions.
    """
    loaded = load_suites(suite, limit=limit, seed=seed)
    questions = [question for one in loaded for question in one.of(OpenQuestion)]
    _require_items(questions, suite, kind="open")
    return Task(
        dataset=MemoryDataset([question_sample(q) for q in questions], name=suite),
        solver=seeded_generate(seed=seed),
        scorer=None if grader is None else misalignment_grades(grader),
        epochs=n_samples,
        config=GenerateConfig(max_tokens=max_new_tokens, temperature=temperature),
        version=1,
    )


@solver
def seeded_generate(seed: int = 0) -> Solver:
    """Generate with a seed that belongs to the sample and its epoch.

    Args:
        seed: That all of them are derived from.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        own = derive_seed(seed, "inspect", str(state.sample_id), str(state.epoch))
        return await generate(state, seed=own)

    return solve


def _prompt_task(
    prompts: Sequence[Prompt],
    *,
    name: str,
    judge: JudgeSpecification,
    deflection_is_refusal: bool,
    config: GenerateConfig,
    seed: int,
) -> Task:
    _require_items(prompts, name, kind="prompts")
    return Task(
        dataset=MemoryDataset([prompt_sample(prompt) for prompt in prompts], name=name),
        solver=seeded_generate(seed=seed),
        scorer=[verdict(judge, deflection_is_refusal), invalid_verdicts()],
        config=config,
        version=1,
    )


def _bundled(concepts: Sequence[str], *, limit: int | None, seed: int) -> list[Prompt]:
    return [
        prompt
        for concept in concepts
        for prompt in draw_items(
            bundled_prompts(concept, split="test"), limit=limit, seed=seed, name=concept
        )
    ]


def _of_suite(suite: str, *, limit: int | None, seed: int) -> list[Prompt]:
    return [p for one in load_suites(suite, limit=limit, seed=seed) for p in one.of(Prompt)]


def _names(given: Names) -> list[str]:
    return given.split(",") if isinstance(given, str) else given


def _require_items(items: Sequence[object], suite: str | None, *, kind: str) -> None:
    if not items:
        raise ConfigError(
            f"{suite}: has nothing to ask here; choose a suite that measures {kind} "
            "(`spillover suites` lists them), or other concepts"
        )
