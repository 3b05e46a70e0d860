"""Schedules that several processes share: split evenly where they can be, refused where not."""

from dataclasses import replace

import pytest

from spillover.training import TrainingSettings, make_objective
from spillover.training.batching import split_units
from spillover.training.schedule_checks import check_units, shared_out
from tests.training.examples import schedule

SETTINGS = TrainingSettings(steps=2, units_per_step=1, learning_rate=1e-3)


def retain_only(n_units, *, retain_per_forget):
    return [
        replace(unit, forget=()) for unit in schedule(n_units, retain_per_forget=retain_per_forget)
    ]


def test_units_of_retain_examples_are_split_so_that_every_process_has_one():
    units = retain_only(2, retain_per_forget=8)
    split, settings = shared_out(units, SETTINGS, make_objective("sft"), n_processes=4)
    assert [len(unit.retain) for unit in split] == [2] * 8
    assert settings.units_per_step == 4
    assert [e for unit in split for e in unit.retain] == [e for unit in units for e in unit.retain]


def test_nothing_is_split_that_need_not_be():
    units = retain_only(8, retain_per_forget=3)
    settings = replace(SETTINGS, units_per_step=4)
    assert shared_out(units, settings, make_objective("sft"), n_processes=2) == (units, settings)
    forget = schedule(2)
    assert shared_out(forget, SETTINGS, make_objective("npo"), n_processes=2)[0] is forget


def test_units_that_cannot_be_dealt_out_evenly_are_refused():
    with pytest.raises(ValueError, match=r"3 retain and 0 forget examples .* into 2 equal parts"):
        split_units(retain_only(1, retain_per_forget=3), parts=2)
    with pytest.raises(ValueError, match="2 retain and 1 forget examples"):
        split_units(schedule(1, retain_per_forget=2), parts=2)


def test_forget_examples_that_processes_cannot_share_are_refused():
    settings = replace(SETTINGS, units_per_step=6, accumulation=2)
    message = "accumulation 2 times 2 processes must divide units_per_step 6"
    with pytest.raises(ValueError, match=message):
        check_units(schedule(12), make_objective("npo"), settings, n_processes=2)
    check_units(schedule(12), make_objective("npo"), settings, n_processes=3)
    assert settings.units_per_step == 6
