"""Which prompts a study uses: the user's files where given, else the bundled ones."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spillover.data.concepts import BENIGN
from spillover.data.prompt_sets import bundled_prompts, check_disjoint, load_prompts
from spillover.data.questions import bundled_questions, load_questions
from spillover.errors import ConfigError
from spillover.records import MultipleChoice, Prompt
from spillover.study.sections import PromptsSection


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
