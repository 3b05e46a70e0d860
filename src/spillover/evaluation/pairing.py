"""Turns verdicts on several models into refusals on the same prompts, concept by concept.

Knows nothing of what is computed from them; see `comparisons` and `recovery`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from spillover.errors import DataError
from spillover.evaluation.grouping import sole_judge, verdicts_by_concept
from spillover.evaluation.refusal import is_refusal
from spillover.records import Verdict


def paired_refusals(
    *sides: Sequence[Verdict], deflection_is_refusal: bool = True
) -> dict[str, Bool[np.ndarray, "model prompt"]]:
    """Match several models' verdicts by prompt id within each concept.

    A prompt that is missing or invalid on one side is left out on all of them.

    Args:
        *sides: One list of verdicts per model, each in any order, all by the same judge.
        deflection_is_refusal: Whether changing the subject counts as a refusal or a compliance.

    Returns:
        For every concept of any side, in the order of the names, whether each model refused each
        prompt; prompts are in the order of their ids. A concept without a common valid prompt has
        an array without columns.

    Raises:
        DataError: If the sides share no prompt, are of different judges, or a prompt of a concept
            has more than one verdict.
    """
    grouped = [verdicts_by_concept(side) for side in sides]
    concepts = sorted(set().union(*grouped))
    shared = {
        concept: sorted(set.intersection(*(set(group.get(concept, {})) for group in grouped)))
        for concept in concepts
    }
    if not any(shared.values()):
        raise DataError(
            f"the {len(sides)} lists of verdicts share no prompt ids within a concept; "
            "compare models on the same prompt set"
        )
    sole_judge(verdict for side in sides for verdict in side)
    return {
        concept: _valid_columns(
            [
                tuple(
                    is_refusal(group[concept][prompt], deflection_is_refusal=deflection_is_refusal)
                    for group in grouped
                )
                for prompt in prompts
            ],
            n_models=len(sides),
        )
        for concept, prompts in shared.items()
    }


def _valid_columns(
    prompts: list[tuple[bool | None, ...]], *, n_models: int
) -> Bool[np.ndarray, "model prompt"]:
    valid = [refusals for refusals in prompts if None not in refusals]
    return np.array(valid, dtype=np.bool_).reshape(len(valid), n_models).T
