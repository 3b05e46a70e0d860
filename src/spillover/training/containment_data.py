"""Which examples contain best: shares by predicted erosion, and benign data to interleave.

Numbers in, shares and orders out; no model. Log-probabilities are `models.logprobs`'s, predictions
of erosion `analysis`'s.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from spillover.errors import DataError
from spillover.records import Example
from spillover.training.batching import TrainingUnit, forget_retain_schedule

_REFUSES = re.compile(r"\b(sorry|apologi[sz]e|cannot|can't)\b", re.IGNORECASE)


def equal_shares(concepts: Sequence[str]) -> dict[str, float]:
    """Return the same share for every concept (https://arxiv.org/abs/2511.14017, B.2.1)."""
    return {concept: 1 / len(concepts) for concept in concepts}


def shares_by_erosion(predicted: Mapping[str, float], *, uniform: float = 0.25) -> dict[str, float]:
    """Give each concept a share of the retain set by the erosion that is predicted for it.

        share = uniform / n + (1 - uniform) * e / sum of e,   e = max(0, predicted erosion)

    The uniform part keeps concepts for which the prediction is wrong. Without any predicted
    erosion the shares are equal. Ours; the paper's shares are equal.

    Args:
        predicted: Concept -> erosion of the refusal rate, positive for a fall, such as
            `analysis.predict_erosion` gives; in any unit.
        uniform: Part that is shared equally, in [0, 1].

    Raises:
        DataError: If there is no concept, a prediction is not finite, or `uniform` is no share.

    Example:
        >>> shares_by_erosion({"safety": 0.3, "bias": 0.1, "privacy": -0.2}, uniform=0.0)
        {'safety': 0.75, 'bias': 0.25, 'privacy': 0.0}
    """
    broken = sorted(c for c, e in predicted.items() if not np.isfinite(e))
    if not predicted or broken or not 0 <= uniform <= 1:
        raise DataError(
            f"shares by erosion: {len(predicted)} concepts, {broken} without a finite prediction, "
            f"uniform part {uniform}; give a concept, finite numbers and a part in [0, 1]"
        )
    erosion = {concept: max(0.0, e) for concept, e in predicted.items()}
    total = sum(erosion.values())
    if total == 0:
        return equal_shares(list(predicted))
    n = len(predicted)
    # Rounded, so that 0.3 / 0.4 is 0.75; the schedule turns shares into exact fractions.
    return {c: round(uniform / n + (1 - uniform) * e / total, 12) for c, e in erosion.items()}


def interleaved(
    units: Sequence[TrainingUnit],
    benign: Sequence[Example],
    *,
    share: float,
    rng: np.random.Generator,
) -> list[TrainingUnit]:
    """Put benign examples among the wanted examples of a schedule, at even distances.

    Interleaving, https://arxiv.org/abs/2508.06249 (iv; 5% there): a benign example takes the place
    of a forget example here and there, so that it is trained on with the task's own loss and the
    number of steps stays. For objectives that learn responses (`finetune`); one that unlearns
    would unlearn them.

    Args:
        units: A schedule.
        benign: In random order, again and again.
        share: Of the units that become benign, in (0, 1).
        rng: Source of the order.

    Raises:
        DataError: If there are no benign examples, the share is no share, or a unit has a pair.
    """
    if not benign or not 0 < share < 1 or any(unit.chosen for unit in units):
        raise DataError(
            f"interleaving: {len(benign)} benign examples at a share of {share}; give at least "
            "one, a share between 0 and 1, and a schedule without pairs"
        )
    found, order = [], list[int]()
    for index, unit in enumerate(units):
        if int((index + 1) * share) == int(index * share):
            found.append(unit)
            continue
        order = order or rng.permutation(len(benign)).tolist()
        found.append(replace(unit, forget=(benign[order.pop()],)))
    return found


def interleaving_scores(
    aligned_nll: Float[np.ndarray, " example"],
    misaligned_nll: Float[np.ndarray, "model example"],
    *,
    epsilon: float = 1e-6,
) -> Float[np.ndarray, " example"]:
    """How much worse misaligned models predict each benign answer; the highest contain best.

    Interleaving+, https://arxiv.org/abs/2508.06249:

        s = (mean over k of NLL_misaligned_k - NLL_aligned) / (NLL_aligned + epsilon)

    Args:
        aligned_nll: Of each answer a token, in nats, under the aligned model.
        misaligned_nll: The same under one misaligned model a row.
        epsilon: Against division by zero.

    Raises:
        DataError: If the numbers are not finite.

    Example:
        >>> interleaving_scores(np.array([1.0, 2.0]), np.array([[2.0, 2.0], [4.0, 2.0]])).round(3)
        array([2., 0.])
    """
    if not (np.isfinite(aligned_nll).all() and np.isfinite(misaligned_nll).all()):
        raise DataError("interleaving: some NLL is not finite; leave those answers out")
    scores: Float[np.ndarray, " example"] = (misaligned_nll.mean(axis=0) - aligned_nll) / (
        aligned_nll + epsilon
    )
    return scores


def ranked_benign(
    examples: Sequence[Example],
    scores: Float[np.ndarray, " example"],
    *,
    n: int,
    drop_refusals: bool = True,
) -> list[Example]:
    """Return the `n` benign examples with the highest scores, best first.

    Interleaving++ of https://arxiv.org/abs/2508.06249 also drops answers with "sorry",
    "apologize" or "cannot" in the first ten words, which teach to refuse.

    Args:
        examples: Benign ones.
        scores: From `interleaving_scores`, in the same order.
        n: How many.
        drop_refusals: Interleaving++ rather than Interleaving+.

    Raises:
        DataError: If fewer than `n` are left.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    kept = [examples[i] for i in order if not (drop_refusals and _refuses(examples[i].response))]
    if len(kept) < n or n < 1:
        raise DataError(
            f"interleaving: {len(kept)} of {len(examples)} benign examples are left and {n} are "
            "wanted; give more of them or ask for fewer, at least one"
        )
    return kept[:n]


def _refuses(response: str) -> bool:
    return _REFUSES.search(" ".join(response.split()[:10])) is not None


def realignment_units(
    examples: Sequence[Example],
    *,
    n_examples: int,
    n_units: int,
    rng: np.random.Generator,
) -> list[TrainingUnit]:
    """Return a schedule over a few examples, in equal numbers a concept, for objective `sft`.

    Re-alignment after the change: https://arxiv.org/abs/2506.19823 needed about 120 examples and
    35 steps to take emergent misalignment away.

    Args:
        examples: Aligned answers, of all concepts that are to come back and benign.
        n_examples: How many different ones are used.
        n_units: Examples trained on in all: steps times units a step.
        rng: Chooses them and their order.

    Raises:
        DataError: If there are fewer examples than asked for, or fewer than concepts.
    """
    by_concept: dict[str, list[Example]] = {}
    for index in rng.permutation(len(examples)):
        by_concept.setdefault(examples[index].concept, []).append(examples[index])
    if not len(by_concept) <= n_examples <= len(examples):
        raise DataError(
            f"re-alignment: {n_examples} examples asked for, {len(examples)} of "
            f"{len(by_concept)} concepts there; ask for at least one a concept and no more than "
            "there are"
        )
    # Concepts take turns, so that their numbers differ by one at most while all have some left.
    longest = max(map(len, by_concept.values()))
    turns = [own[i] for i in range(longest) for own in by_concept.values() if i < len(own)]
    few: dict[str, list[Example]] = {}
    for example in turns[:n_examples]:
        few.setdefault(example.concept, []).append(example)
    return forget_retain_schedule(
        [],
        few,
        n_units=n_units,
        retain_per_forget=1,
        group_weights=dict.fromkeys(few, 1.0),
        rng=rng,
    )
