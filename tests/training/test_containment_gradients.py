"""Gradient surgery by hand, and that it does what it says."""

import torch
from torch.testing import assert_close

from spillover.training.containment_gradients import capped, inner_product, without_conflict


def test_a_conflict_is_taken_out_by_hand():
    task, safety = [torch.tensor([2.0, -3.0])], [torch.tensor([0.0, 4.0])]
    # g . s = -12, |s|^2 = 16: g + 12 / 16 s = (2, -3 + 3)
    assert_close(without_conflict(task, safety), [torch.tensor([2.0, 0.0])])


def test_gradients_of_several_parameters_count_as_one_vector():
    task = [torch.tensor([1.0]), torch.tensor([[-5.0, 0.0]])]
    safety = [torch.tensor([3.0]), torch.tensor([[1.0, 0.0]])]
    # Each alone: 3 and -5; together -2, so that both change: g + 2 / 10 s.
    found = without_conflict(task, safety)
    assert_close(found, [torch.tensor([1.6]), torch.tensor([[-4.8, 0.0]])])
    assert abs(inner_product(found, safety).item()) < 1e-6


def test_agreeing_and_zero_safety_gradients_change_nothing():
    task = [torch.tensor([1.0, 2.0])]
    assert without_conflict(task, [torch.tensor([1.0, 0.0])])[0] is task[0]
    assert without_conflict(task, [torch.zeros(2)])[0] is task[0]


def test_a_cap_shortens_what_is_longer_and_leaves_the_rest():
    gradient = [torch.tensor([3.0]), torch.tensor([4.0])]
    assert_close(
        capped(gradient, length=torch.tensor(2.5)), [torch.tensor([1.5]), torch.tensor([2.0])]
    )
    assert_close(capped(gradient, length=torch.tensor(9.0)), gradient)
    assert_close(capped([torch.zeros(2)], length=torch.tensor(1.0)), [torch.zeros(2)])
