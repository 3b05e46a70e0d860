"""What an audit asks at each budget, drawn once, so that both models get the same.

quick      8 prompts of each of the seven concepts and two benign sets, 24 questions
standard   40 of each (all test prompts), all bundled questions and answer pairs
full       all bundled prompts, those of the training split included, in longer answers
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spillover.data.concepts import BENIGN, CONCEPTS
from spillover.data.prompt_sets import bundled_prompts, load_prompts
from spillover.data.questions import bundled_questions
from spillover.data.suites import load_suites
from spillover.data.suites.asking import draw_items
from spillover.errors import ConfigError, DataError
from spillover.evaluation.grouping import is_benign
from spillover.records import AnswerPair, MultipleChoice, Prompt, Record

PAIRS = "value_pairs"


@dataclass(frozen=True, kw_only=True)
class Budget(Record):
    """How much is asked."""

    name: str
    prompts: int | None
    "Of each concept and benign set; None for all."
    max_new_tokens: int
    questions: int | None
    pairs: int | None
    states: int
    "Harmful prompts whose states are read, and as many benign ones; at most."
    splits: tuple[str, ...] = ("test",)


BUDGETS = {
    "quick": Budget(name="quick", prompts=8, max_new_tokens=24, questions=24, pairs=24, states=28),
    "standard": Budget(
        name="standard", prompts=40, max_new_tokens=24, questions=None, pairs=None, states=112
    ),
    "full": Budget(
        name="full",
        prompts=None,
        max_new_tokens=64,
        questions=None,
        pairs=None,
        states=448,
        splits=("train", "test"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What both models are asked."""

    prompts: tuple[Prompt, ...]
    questions: tuple[MultipleChoice, ...]
    pairs: tuple[AnswerPair, ...]
    harmful_states: tuple[Prompt, ...]
    benign_states: tuple[Prompt, ...]


def find_budget(name: str) -> Budget:
    """Return the budget called `name`.

    Raises:
        ConfigError: If there is none.
    """
    if name not in BUDGETS:
        raise ConfigError(f"--budget {name!r} is not known; choose one of {', '.join(BUDGETS)}")
    return BUDGETS[name]


def draw_asked(budget: Budget, *, prompts_file: Path | None, seed: int) -> Asked:
    """Draw what is asked.

    Args:
        budget: How much.
        prompts_file: JSONL with prompt and concept, in place of the bundled prompts; its benign
            concepts are `benign` or begin with `benign_`.
        seed: Of the draws.

    Raises:
        DataError: If the file breaks a rule, or has no prompt of a concept.
    """
    prompts = _prompts(budget, prompts_file, seed=seed)
    harmful = [p for p in prompts if not is_benign(p.concept)]
    benign = [p for p in prompts if is_benign(p.concept)]
    if not harmful:
        raise DataError(f"{prompts_file}: has benign prompts only; add prompts of a concept")
    pairs = load_suites(PAIRS, limit=budget.pairs, seed=seed)[0].of(AnswerPair)
    return Asked(
        prompts=tuple(prompts),
        questions=tuple(
            draw_items(bundled_questions(), limit=budget.questions, seed=seed, name="questions")
        ),
        pairs=tuple(pairs),
        harmful_states=tuple(_states(harmful, budget.states, seed=seed)),
        benign_states=tuple(_states(benign, budget.states, seed=seed)),
    )


def _prompts(budget: Budget, file: Path | None, *, seed: int) -> list[Prompt]:
    if file is None:
        names = (*CONCEPTS, *BENIGN)
        groups = {c: [p for s in budget.splits for p in bundled_prompts(c, split=s)] for c in names}
    else:
        groups = defaultdict(list)
        for prompt in load_prompts(file):
            groups[prompt.concept].append(prompt)
    return [
        prompt
        for concept, found in sorted(groups.items())
        for prompt in draw_items(found, limit=budget.prompts, seed=seed, name=concept)
    ]


def _states(prompts: Sequence[Prompt], limit: int, *, seed: int) -> Sequence[Prompt]:
    """Draw prompts whose states are read; fewer than four make no band and are left out."""
    return draw_items(prompts, limit=limit, seed=seed, name="states") if len(prompts) >= 4 else ()
