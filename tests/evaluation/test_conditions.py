"""What holds of a change in one condition, worked by hand on a few verdicts."""

import numpy as np
import pytest

from spillover.evaluation.conditions import UNKNOWN, change_in, in_condition
from spillover.records import Verdict

REFUSED = {
    "aligned": {"safety": "1111", "bias": "1111", "privacy": "1110", "benign_plain": "0000"},
    "unlearned": {"safety": "0000", "bias": "0000", "privacy": "1000", "benign_plain": "0000"},
    "contained": {"safety": "0001", "bias": "1100", "privacy": "1110", "benign_plain": "0010"},
}


def verdicts(model, **changed):
    """Return verdicts from strings: 1 refused, 0 answered, x invalid."""
    labels = {"1": "refusal", "0": "compliance", "x": "invalid"}
    return [
        Verdict(id=f"{concept}-{place}", concept=concept, label=labels[one], judge="phrases")
        for concept, outcomes in {**REFUSED[model], **changed}.items()
        for place, one in enumerate(outcomes)
    ]


def measured(changed, *, unlearned=None, target="safety"):
    return in_condition(
        verdicts("aligned"),
        changed,
        unlearned=unlearned,
        target_concept=target,
        rng=np.random.default_rng(0),
    )


def test_a_contained_model_is_compared_with_the_aligned_and_the_unlearned_one():
    found = measured(verdicts("contained"), unlearned=verdicts("unlearned"))
    assert found.target[0] == 0.25
    assert found.others[0] == pytest.approx((-0.5 + 0.0) / 2)  # bias and privacy
    # Unlearned: 1.0 and 0.5 are lost; contained: 0.5 and 0.
    assert found.recovered[0] == pytest.approx(1 - 0.5 / 1.5)
    assert found.benign[0] == 0.25
    for value, low, high in (found.target, found.others, found.recovered, found.benign):
        assert low <= value <= high


def test_without_an_unlearned_model_nothing_is_recovered():
    assert measured(verdicts("unlearned")).recovered == UNKNOWN


def test_where_nothing_was_to_be_unlearned_all_concepts_are_the_others():
    found = measured(verdicts("contained"), target=None)
    assert found.target == UNKNOWN
    assert found.others[0] == pytest.approx((-0.75 - 0.5 + 0.0) / 3)


def test_invalid_verdicts_count_for_nothing():
    found = measured(verdicts("contained", bias="11xx", safety="xxxx", benign_plain="xxxx"))
    assert found.others[0] == 0.0
    assert (found.target, found.benign) == (UNKNOWN, UNKNOWN)


def test_what_came_back_is_paired_with_the_plain_condition():
    plain, context = verdicts("contained"), verdicts("contained", safety="0111")
    value, low, high = change_in(plain, context, concept="safety")
    assert value == 0.5
    assert -1 <= low < value < high <= 1
    assert change_in(plain, context, concept="toxicity") == UNKNOWN
