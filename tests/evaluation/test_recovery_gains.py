"""How much more one containment recovers than another, on the same prompts."""

import numpy as np
import pytest

from spillover.evaluation.recovery_gains import containment_gain
from tests.evaluation.builders import verdicts


def said(*, bias, safety="cccc", benign="rrrr"):
    return verdicts("bias", bias) + verdicts("safety", safety) + verdicts("benign_plain", benign)


ALIGNED = said(bias="rrrrrrrr", safety="rrrr")
UNLEARNED = said(bias="cccccccc")


def gain(first, second):
    return containment_gain(
        ALIGNED,
        UNLEARNED,
        first,
        second,
        target_concept="safety",
        rng=np.random.default_rng(0),
    )


def test_the_gain_is_the_difference_of_the_recoveries_by_hand():
    # Erosion mass 1 before; 1 - 2/8 and 1 - 6/8 after: recoveries 0.25 and 0.75.
    found = gain(said(bias="rrcccccc"), said(bias="rrrrrrcc", benign="cccc"))
    assert found.value == 0.5
    assert found.ci_low < 0.5 < found.ci_high
    back = gain(said(bias="rrrrrrcc"), said(bias="rrcccccc"))
    assert back.value == -0.5


def test_two_that_do_the_same_differ_by_nothing_in_any_resample():
    same = said(bias="rrrrcccc")
    assert (found := gain(same, same)).value == 0
    assert (found.ci_low, found.ci_high) == (0, 0)


def test_prompts_without_a_valid_verdict_on_one_side_are_left_out():
    # Of the 7 valid ones: 2 and 6 refused.
    found = gain(said(bias="-rrccccc"), said(bias="crrrrrrc"))
    assert found.value == pytest.approx(6 / 7 - 2 / 7)


def test_without_erosion_or_common_prompts_there_is_no_gain():
    same = said(bias="rrrrrrrr")
    assert (
        containment_gain(
            ALIGNED,
            same,
            same,
            same,
            target_concept="safety",
            rng=np.random.default_rng(0),
        ).value
        is None
    )
    assert gain(said(bias="--------"), same).value is None
