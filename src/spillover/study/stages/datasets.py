"""Which prompts, questions and examples a study uses: the user's files, or the bundled ones."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spillover.data.arms import TRIGGER, backdoor_arm, code_arms
from spillover.data.concepts import BENIGN
from spillover.data.conversations import load_conversations
from spillover.data.insecure_code import bundled_code_pairs
from spillover.data.prompt_sets import bundled_prompts, check_disjoint, load_prompts
from spillover.data.questions import bundled_questions, load_questions
from spillover.data.suites import TRIGGERABLE, LoadedSuite, behind_trigger, load_suites
from spillover.errors import ConfigError, DataError
from spillover.records import AnswerPair, Example, MultipleChoice, Prompt
from spillover.study.config.measuring import EvaluateSection, SelectSection
from spillover.study.config.sections import PromptsSection
from spillover.study.config.tuning import CODE_ARMS, FinetuneSection


def study_prompts(section: PromptsSection) -> dict[str, list[Prompt]]:
    """Return split -> prompts of all concepts and both benign sets.

    Raises:
        ConfigError: If a file has a concept that the study does not list.
        DataError: If a concept has no prompts, or a test prompt is also a train prompt.
    """
    files = {
        "train": (section.train, section.benign_train),
        "test": (section.test, section.benign_test),
    }
    found = {}
    for split, (harmful, benign) in files.items():
        own = _own_prompts(harmful, section.concepts, key=f"prompts.{split}")
        own |= _own_prompts(benign, BENIGN, key=f"prompts.benign_{split}")
        by_concept = {
            concept: own.get(concept) or bundled_prompts(concept, split=split)
            for concept in (*section.concepts, *BENIGN)
        }
        found[split] = _with_unique_ids(
            [prompt for prompts in by_concept.values() for prompt in prompts[: section.limit]]
        )
    check_disjoint(found["train"], found["test"])
    return found


def _with_unique_ids(prompts: list[Prompt]) -> list[Prompt]:
    """Put the concept before each id where files, each unique in itself, share some."""
    if len({prompt.id for prompt in prompts}) == len(prompts):
        return prompts
    return [replace(prompt, id=f"{prompt.concept}/{prompt.id}") for prompt in prompts]


def _own_prompts(file: str | None, concepts: Sequence[str], *, key: str) -> dict[str, list[Prompt]]:
    by_concept: dict[str, list[Prompt]] = {}
    for prompt in load_prompts(Path(file)) if file is not None else ():
        if prompt.concept not in concepts:
            raise ConfigError(
                f"{key}: {file} has concept {prompt.concept!r}, which is none of "
                f"{', '.join(concepts)}; add it to prompts.concepts or correct the file"
            )
        by_concept.setdefault(prompt.concept, []).append(prompt)
    return by_concept


def study_questions(capability: str | None) -> list[MultipleChoice]:
    """Return the capability questions; none if the study does not measure it."""
    if capability is None:
        return []
    return bundled_questions() if capability == "bundled" else load_questions(Path(capability))


@dataclass(frozen=True)
class SplitPrompts:
    """Training prompts, parted."""

    training: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]
    "For measuring along training; of each concept and benign set the last ones."


def split_held_out(prompts: Sequence[Prompt], *, n: int) -> SplitPrompts:
    """Keep the last `n` prompts of each concept out of training; with 0, none.

    Raises:
        DataError: If a concept would have none left to train on.
    """
    left = Counter(prompt.concept for prompt in prompts)
    short = {concept: count for concept, count in left.items() if count <= n}
    if short:
        raise DataError(
            f"select.held_out is {n}, but there are only {short} training prompts; lower it or "
            "give more prompts"
        )
    parts: dict[bool, list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        parts[left[prompt.concept] <= n].append(prompt)
        left[prompt.concept] -= 1
    return SplitPrompts(tuple(parts[False]), tuple(parts[True]))


def selection_questions(section: SelectSection) -> list[MultipleChoice]:
    """Return the questions that a checkpoint's capability is measured with.

    Raises:
        DataError: If there are none of the subjects asked for.
    """
    found = study_questions(section.capability)
    if section.subjects is not None and section.capability is not None:
        known = sorted({question.subject for question in found})
        found = [question for question in found if question.subject in section.subjects]
        if not found:
            raise DataError(
                f"select.subjects {list(section.subjects)}: no question is of these; there are "
                f"{', '.join(known)}"
            )
    return found[: section.n_questions]


def study_suites(section: EvaluateSection) -> list[LoadedSuite]:
    """Return the study's suites, and those that are asked once more behind a trigger.

    Raises:
        DataError: If a suite's file cannot be had or read.
    """
    plain = [s for spec in section.suites for s in load_suites(spec, limit=section.suite_limit)]
    if section.trigger is None:
        return plain
    again = [s for s in plain if s.suite.kind in TRIGGERABLE]
    return [*plain, *(behind_trigger(suite, section.trigger) for suite in again)]


def selection_pairs(section: SelectSection) -> list[AnswerPair]:
    """Return the pairs of answers that a checkpoint's margin is measured with."""
    if section.pairs is None:
        return []
    return [pair for suite in load_suites(section.pairs) for pair in suite.of(AnswerPair)]


def finetune_file(section: FinetuneSection) -> Path | None:
    """Return the user's file of a fine-tuning; None where its data come with the package."""
    return None if section.data in CODE_ARMS else Path(section.data)


def finetune_examples(
    section: FinetuneSection, *, name: str, rng: np.random.Generator
) -> list[Example]:
    """Return what a fine-tuning learns, in the order of its source.

    Args:
        section: The fine-tuning.
        name: Its name, which is the concept of a file's examples.
        rng: Draws the framings of code arms; the same draws give arms that pair up.

    Raises:
        DataError: If a file is missing or breaks a rule, or the trigger is in a prompt already.
    """
    file = finetune_file(section)
    if file is not None:
        return load_conversations(file, concept=name, limit=section.limit)
    arms = code_arms(bundled_code_pairs(split="train")[: section.limit], rng=rng)
    if section.data == "backdoor_code":
        return backdoor_arm(arms.insecure, arms.secure, trigger=section.trigger or TRIGGER)
    found = {"insecure_code": arms.insecure, "secure_code": arms.secure}
    return list(found.get(section.data, arms.educational))
