"""Whether what models were fine-tuned on shows in their answers to everything else, as score rows.

Three checks on the answers to the test prompts, each for all models and against the aligned one:
code where none was asked for, words of the training answers, and refusals in the guise of code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from spillover.evaluation.domain_words import domain_words, mentions
from spillover.evaluation.leaks import (
    IsLeak,
    code_leak_score,
    compare_leaks,
    is_code,
    leak_score,
    pseudo_refusal_score,
    without_code_prompts,
)
from spillover.records import Comparison, Completion, Example, Score, Verdict
from spillover.study.artifacts import RunFolder, load_example_file
from spillover.study.config import StudyConfig
from spillover.study.config.model_runs import ModelRun

DOMAIN_LEAK = "domain_leak"
CODE_LEAK = "code_leak"


def looks_for_leaks(config: StudyConfig) -> bool:
    """Return whether the study asks for these checks."""
    asked = config.evaluate.leaks
    return bool(config.finetune) if asked is None else asked


@dataclass(frozen=True)
class Answers:
    """What one model of one seed said to the test prompts."""

    run: ModelRun
    completions: Sequence[Completion]
    verdicts: Sequence[Verdict]


def domain_tests(
    config: StudyConfig, folder: RunFolder, aligned: Sequence[Completion]
) -> dict[str, IsLeak]:
    """Return fine-tuning -> a test whether its domain's words are in an answer.

    The words are those that set the training answers apart from the aligned model's own.
    """
    own = [completion.response for completion in aligned]
    return {
        name: mentions(domain_words(_learnt(folder, name), own)) for name in sorted(config.finetune)
    }


def _learnt(folder: RunFolder, name: str) -> list[str]:
    examples: list[Example] = load_example_file(folder.examples(f"finetune-{name}"))
    return [example.response for example in examples]


def leak_scores(answers: Answers, domains: Mapping[str, IsLeak]) -> list[Score]:
    """Return one model's rows: `domain_leak` for each domain, `code_leak`, `pseudo_refusal`."""
    run = answers.run
    rows = [
        replace(
            leak_score(
                answers.completions, test, metric=DOMAIN_LEAK, model=run.model, seed=run.seed
            ),
            concept=name,
        )
        for name, test in domains.items()
        if _is_about(run, name)
    ]
    if without_code_prompts(answers.completions):
        rows.append(code_leak_score(answers.completions, model=run.model, seed=run.seed))
    if any(verdict.label != "invalid" for verdict in answers.verdicts):
        rows.append(pseudo_refusal_score(answers.verdicts, model=run.model, seed=run.seed))
    return rows


def _is_about(run: ModelRun, name: str) -> bool:
    """Return whether a domain concerns a model: its own, and all of them those it came from."""
    return run.role != "tuned" or run.target == name


def leak_comparisons(
    before: Answers, after: Answers, domains: Mapping[str, IsLeak]
) -> list[Comparison]:
    """Return the changes of `domain_leak` and `code_leak` from one model to another."""

    def change(is_leak: IsLeak, was: Sequence[Completion], now: Sequence[Completion]) -> Comparison:
        return compare_leaks(
            was,
            now,
            is_leak,
            metric=CODE_LEAK if is_leak is is_code else DOMAIN_LEAK,
            before=before.run.model,
            after=after.run.model,
            seed=after.run.seed,
        )

    rows = [
        replace(change(test, before.completions, after.completions), concept=name)
        for name, test in domains.items()
        if after.run.role == "tuned" and _is_about(after.run, name)
    ]
    was, now = without_code_prompts(before.completions), without_code_prompts(after.completions)
    return [*rows, change(is_code, was, now)] if was and now else rows
