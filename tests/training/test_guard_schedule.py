"""The measuring budget on a clock that stands still unless it is moved."""

import pytest
import torch

from spillover.errors import ConfigError
from spillover.training.guard_schedule import MeasuringBudget, from_first

CPU = torch.device("cpu")


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def spend(budget, clock, seconds):
    with budget.spending(CPU):
        clock.now += seconds


def test_a_measurement_waits_for_its_own_time_and_for_that_of_the_last_one():
    clock = Clock()
    budget = MeasuringBudget(0.1, clock=clock)
    budget.start()
    spend(budget, clock, 2.0)
    # 2 s spent and 2 s each for this one and the last: 6 s, which is a tenth of 60 s of training.
    clock.now = 61.0
    assert not budget.allows()
    clock.now = 62.0
    assert budget.allows()
    spend(budget, clock, 2.0)
    assert not budget.allows()
    # Now 8 s: 80 s of training, and 4 s were spent.
    clock.now = 84.0
    assert budget.allows()
    assert budget.overhead == pytest.approx(4 / 80)


def test_the_share_is_kept_over_a_long_training_and_used_up_to_half_at_least():
    clock = Clock()
    budget = MeasuringBudget(0.08, clock=clock)
    budget.start()
    spend(budget, clock, 3.0)
    for _ in range(1000):
        clock.now += 1.7
        if budget.allows():
            spend(budget, clock, 3.0)
    spend(budget, clock, 3.0)
    assert 0.04 < budget.overhead <= 0.08


def test_a_measurement_that_costs_more_than_before_is_paid_for_by_waiting():
    clock = Clock()
    budget = MeasuringBudget(0.1, clock=clock)
    budget.start()
    spend(budget, clock, 10.0)
    clock.now += 299.0
    assert not budget.allows()  # 10 + 2 * 10 = 30 s need 300 s.
    clock.now += 1.0
    assert budget.allows()


def test_no_share_is_refused():
    with pytest.raises(ConfigError, match="max_overhead is -1; give a share above 0"):
        MeasuringBudget(-1)


def test_one_process_decides_by_itself():
    assert from_first([0.5, 1.0], CPU) == [0.5, 1.0]


def test_several_processes_take_the_values_of_the_first(tmp_path):
    store = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        assert from_first([0.5, 1.0], CPU) == [0.5, 1.0]
    finally:
        torch.distributed.destroy_process_group()
