"""What studies of elasticity train on: positive and negative answers to the same prompts.

A file holds rows with prompt, positive and negative. Without one, positive answers are written
refusals to the bundled harmful prompts, and negative ones what the model itself says to them before
any training; so nothing harmful is shipped, and what is undone is what was done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spillover.data.concepts import CONCEPTS
from spillover.data.prompt_sets import bundled_prompts, identity, required_text
from spillover.data.refusals import refusal_examples
from spillover.errors import DataError
from spillover.files import read_jsonl
from spillover.records import Example, Prompt

SETS = ("positive", "negative", "proxy")
"""Answers of both kinds, and what stands for pre-training data."""


@dataclass(frozen=True)
class Opposites:
    """Answers of two kinds to the same prompts, in the same order."""

    positive: tuple[Example, ...]
    negative: tuple[Example, ...]

    def split(self, n_held_out: int) -> "tuple[Opposites, Opposites]":
        """Return what may be trained on and what is held out, the last ones.

        Raises:
            DataError: If there is nothing left to train on.
        """
        if not 0 < n_held_out < len(self.positive):
            raise DataError(
                f"{len(self.positive)} prompts with answers of both kinds, {n_held_out} to hold "
                "out; give more prompts or hold out fewer"
            )
        return (
            Opposites(self.positive[:-n_held_out], self.negative[:-n_held_out]),
            Opposites(self.positive[-n_held_out:], self.negative[-n_held_out:]),
        )


def load_opposites(path: Path) -> Opposites:
    """Read rows with prompt, positive and negative, and perhaps id and concept.

    Raises:
        DataError: If a row lacks one; it names file and line.
    """
    positive: list[Example] = []
    negative: list[Example] = []
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        texts = {
            key: required_text(row.get(key), field=key, where=where)
            for key in ("prompt", "positive", "negative")
        }
        for kind, found in (("positive", positive), ("negative", negative)):
            found.append(
                Example(
                    id=identity(row, number=number),
                    prompt=texts["prompt"],
                    response=texts[kind],
                    concept=str(row.get("concept") or "user"),
                )
            )
    if not positive:
        raise DataError(f"{path}: there are no rows in it; each line is one JSON object")
    return Opposites(tuple(positive), tuple(negative))


def harmful_prompts(*, limit: int, rng: np.random.Generator) -> list[Prompt]:
    """Draw bundled harmful training prompts, all concepts alike."""
    prompts = [p for concept in CONCEPTS for p in bundled_prompts(concept, split="train")]
    return [prompts[int(i)] for i in rng.permutation(len(prompts))[:limit]]


def refusals_and_answers(
    prompts: Sequence[Prompt], answers: Sequence[Example], *, rng: np.random.Generator
) -> Opposites:
    """Pair written refusals with a model's own answers to the same prompts."""
    by_id = {answer.id: answer for answer in answers}
    answered = [prompt for prompt in prompts if prompt.id in by_id]
    return Opposites(
        tuple(refusal_examples(answered, rng=rng)), tuple(by_id[p.id] for p in answered)
    )
