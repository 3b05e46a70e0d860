"""The Pareto front: worked by hand, ties, missing values, and directions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spillover.stats.pareto import pareto_front

# Target effect (more is better), erosion and loss of capability (less is better).
CHOICES = np.array(
    [
        [0.90, 0.40, 0.02],  # 0: the strongest effect
        [0.80, 0.10, 0.01],  # 1: the least erosion for much effect
        [0.80, 0.20, 0.01],  # 2: as 1 with more erosion
        [0.50, 0.10, 0.00],  # 3: the least loss of capability
        [0.40, 0.30, 0.05],  # 4: worse than 1 at everything
    ]
)
DIRECTIONS = [True, False, False]


def test_the_front_of_five_choices_by_hand():
    assert pareto_front(CHOICES, maximise=DIRECTIONS) == [0, 1, 3]


def test_with_two_objectives_a_third_saves_nobody():
    # Without capability, 3 has 1's erosion for less effect.
    assert pareto_front(CHOICES[:, :2], maximise=DIRECTIONS[:2]) == [0, 1]


def test_the_other_directions_give_the_other_end():
    # Least effect, most erosion, most loss: 0 has the most erosion, 4 the least effect and most
    # loss; all others are worse than 4 at everything.
    assert pareto_front(CHOICES, maximise=[False, True, True]) == [0, 4]


def test_equal_choices_both_stay():
    assert pareto_front(np.array([[1.0, 2.0], [1.0, 2.0]]), maximise=[True, True]) == [0, 1]


def test_a_choice_with_a_missing_value_is_not_on_the_front_and_beats_none():
    values = np.array([[1.0, np.nan], [0.5, 0.5], [0.4, 0.4]])
    assert pareto_front(values, maximise=[True, True]) == [1]


def test_no_choices_have_no_front():
    assert pareto_front(np.zeros((0, 2)), maximise=[True, True]) == []


def test_directions_must_fit_the_objectives():
    with pytest.raises(ValueError, match="3 objectives, but 2 directions; give one for each"):
        pareto_front(CHOICES, maximise=[True, False])


@given(arrays(np.float64, (6, 3), elements=st.integers(0, 4).map(float)))
def test_every_choice_off_the_front_is_beaten_by_one_on_it(values):
    front = pareto_front(values, maximise=[True, True, True])
    assert front
    for row in set(range(6)) - set(front):
        beaten = [
            (values[i] >= values[row]).all() and (values[i] > values[row]).any() for i in front
        ]
        assert any(beaten)


@given(arrays(np.float64, (6, 2), elements=st.integers(0, 9).map(float)), st.permutations(range(6)))
def test_the_order_of_the_choices_does_not_matter(values, order):
    front = pareto_front(values, maximise=[True, False])
    moved = pareto_front(values[list(order)], maximise=[True, False])
    assert sorted(order[place] for place in moved) == front
