"""What the aligned model refused, and what it should say instead, to the examples of an objective.

Knows no files and no models; which objective needs what is the objectives' table's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spillover.data.wanted import unknowing_examples, wanted_examples
from spillover.records import Example


@dataclass(frozen=True)
class ForgetSet:
    """The forget examples of a training."""

    forget: tuple[Example, ...]
    chosen: Mapping[str, Example] | None = None
    "Forget id -> the wanted response to the same prompt; None for objectives without pairs."


def forget_set(
    refused: Sequence[Example],
    *,
    responses: Literal["own", "wanted", "unknowing", "pairs"],
    wanted: Sequence[Example],
    rng: np.random.Generator,
) -> ForgetSet:
    """Return the forget examples with the responses that an objective learns or unlearns.

    Args:
        refused: Training prompts of the target with the aligned model's refusals.
        responses: What the objective needs; see `training.objectives.ForgetResponses`.
        wanted: Responses to the same prompts; a refused prompt without one is left out where
            they are needed.
        rng: Draws the wordings of "I don't know".
    """
    if responses == "own":
        return ForgetSet(tuple(refused))
    if responses == "unknowing":
        return ForgetSet(tuple(unknowing_examples(refused, rng=rng)))
    by_id = wanted_examples(refused, wanted)
    if responses == "wanted":
        return ForgetSet(tuple(by_id[example.id] for example in refused if example.id in by_id))
    return ForgetSet(tuple(example for example in refused if example.id in by_id), by_id)
