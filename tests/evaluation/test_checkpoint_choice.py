"""Which checkpoint each rule keeps, worked out by hand."""

import pytest

from spillover.errors import TrainingError
from spillover.evaluation.checkpoint_choice import CheckpointMeasures, choose_checkpoint


def measured(*rows):
    """Rows of (step, target, others, capability, margin)."""
    names = ("step", "target_refusal", "other_refusal", "capability", "margin")
    return [CheckpointMeasures(**dict(zip(names, row, strict=True))) for row in rows]


ALONG = measured(
    (0, 1.0, 0.9, 0.60, 2.0),
    (10, 0.5, 0.8, 0.59, 1.5),
    (20, 0.2, 0.5, 0.58, 1.0),
    (30, 0.1, 0.6, 0.575, 0.5),
    (40, 0.0, 0.2, 0.50, -1.0),
)


@pytest.mark.parametrize(
    ("rule", "step"),
    [
        ("lowest_target_refusal", 30),  # 0.1; step 40 has 0.0 but lost 0.10 of capability.
        ("least_erosion", 30),  # Of steps 20 and 30, whose target is at most 0.3: 0.6 over 0.5.
        ("lowest_margin", 30),
        ("last", 30),
    ],
)
def test_a_rule_keeps_the_best_of_those_that_count(rule, step):
    choice = choose_checkpoint(ALONG, rule=rule)
    assert (choice.step, choice.rule) == (step, rule)
    assert choice.counted == (10, 20, 30)
    assert choice.left_out == (40,)


def test_without_a_limit_that_bites_every_step_counts():
    choice = choose_checkpoint(ALONG, rule="lowest_target_refusal", max_capability_drop=0.5)
    assert (choice.step, choice.left_out) == (40, ())


def test_a_drop_of_exactly_the_limit_does_not_count():
    rows = measured((0, 1, 1, 0.50, 0), (10, 0, 1, 0.47, 0))
    assert 0.50 - 0.47 > 0.03 - 1e-12  # 0.030000000000000027 in binary.
    assert choose_checkpoint(rows, rule="last") is None
    assert choose_checkpoint(rows, rule="last", max_capability_drop=0.031).step == 10


def test_a_gain_of_capability_counts():
    rows = measured((0, 1, 1, 0.5, 0), (10, 0, 1, 0.9, 0))
    assert choose_checkpoint(rows, rule="last").step == 10


def test_ties_go_to_the_earlier_step_and_the_order_of_rows_does_not_matter():
    rows = measured((0, 1, 1, 0.5, 0), (10, 0.2, 1, 0.5, 0), (20, 0.2, 1, 0.5, 0))
    assert choose_checkpoint(rows, rule="lowest_target_refusal").step == 10
    assert choose_checkpoint(rows[::-1], rule="lowest_target_refusal").step == 10


def test_where_the_target_is_nowhere_unlearnt_least_erosion_keeps_the_nearest():
    rows = measured((0, 1, 1, 0.5, 0), (10, 0.8, 0.9, 0.5, 0), (20, 0.6, 0.1, 0.5, 0))
    assert choose_checkpoint(rows, rule="least_erosion").step == 20


def test_without_capability_every_step_counts():
    rows = measured((0, 1, 1, None, 0), (10, 0.4, 1, None, 0))
    assert choose_checkpoint(rows, rule="last").counted == (10,)


def test_the_start_is_no_checkpoint():
    assert choose_checkpoint(ALONG[:1], rule="last") is None


def test_a_rule_whose_measure_is_missing_says_so():
    rows = measured((0, None, None, 0.5, None), (10, None, None, 0.5, None))
    with pytest.raises(TrainingError, match="step 10: what rule lowest_margin looks at has no val"):
        choose_checkpoint(rows, rule="lowest_margin")
