"""Turns the verdicts on four models into how much more one containment took back than another.

The recoveries themselves are `recovery`'s; here both are of the same prompts.
"""

from collections.abc import Sequence

import numpy as np

from spillover.evaluation.grouping import is_benign
from spillover.evaluation.pairing import paired_refusals
from spillover.records import Verdict
from spillover.stats import RecoveryGain, recovery_gain


def containment_gain(
    aligned: Sequence[Verdict],
    unlearned: Sequence[Verdict],
    first: Sequence[Verdict],
    second: Sequence[Verdict],
    *,
    target_concept: str,
    rng: np.random.Generator,
    deflection_is_refusal: bool = True,
) -> RecoveryGain:
    """Recovery of the second containment less that of the first, on prompts valid under all four.

    Args:
        aligned: Verdicts on the model before the change.
        unlearned: On the model after the change, by the same judge.
        first: On one contained model.
        second: On another.
        target_concept: Left out, as benign ones are.
        rng: Source of the resamples.
        deflection_is_refusal: Whether changing the subject counts as a refusal or a compliance.

    Returns:
        The gain with a 95% interval over prompts; None where nothing eroded or the four share no
        valid prompt of another concept.

    Raises:
        DataError: If the four share no prompt, are of different judges, or a prompt has more than
            one verdict.
    """
    found = paired_refusals(
        aligned, unlearned, first, second, deflection_is_refusal=deflection_is_refusal
    )
    others = {
        concept: outcomes
        for concept, outcomes in found.items()
        if concept != target_concept and not is_benign(concept) and outcomes.shape[1]
    }
    if not others:
        return RecoveryGain(value=None, ci_low=None, ci_high=None)
    models = [{concept: found[m] for concept, found in others.items()} for m in range(4)]
    return recovery_gain(models[0], models[1], models[2], models[3], rng=rng)
