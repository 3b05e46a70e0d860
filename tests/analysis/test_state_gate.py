"""Gates that tell prompts of one concept from others by states: planted, scaled, kept."""

import numpy as np
import pytest

from spillover.analysis.state_gate import learn_gate, load_gate, save_gate
from spillover.errors import DataError

D_MODEL = 6


def planted(n, *, distance, seed=0, layers=2, offset=0.0, scale=1.0):
    """Return states whose first value is `distance` higher for the target, which half are of."""
    rng = np.random.default_rng(seed)
    is_target = np.arange(n) % 2 == 0
    states = rng.normal(size=(layers, n, D_MODEL))
    states[:, is_target, 0] += distance
    return offset + scale * states, is_target


def learnt(states, is_target, *, recall=0.9):
    layers = tuple(range(len(states)))
    return learn_gate(states, is_target, layers=layers, recall=recall, rng=np.random.default_rng(1))


def test_a_concept_that_stands_apart_passes_and_nothing_else_does():
    gate = learnt(*planted(200, distance=8.0))
    states, is_target = planted(400, distance=8.0, seed=7)
    assert gate.passes(states)[is_target].mean() > 0.8
    assert not gate.passes(states)[~is_target].any()
    assert gate.false_pass == 0.0


@pytest.mark.parametrize("recall", [0.5, 0.8, 0.95])
def test_the_wanted_share_of_new_prompts_of_the_concept_passes(recall):
    gate = learnt(*planted(1000, distance=1.0), recall=recall)
    states, is_target = planted(4000, distance=1.0, seed=7)
    assert gate.passes(states)[is_target].mean() == pytest.approx(recall, abs=0.05)
    assert gate.passes(states)[~is_target].mean() == pytest.approx(gate.false_pass, abs=0.05)


def test_without_a_difference_the_same_share_of_either_kind_passes():
    gate = learnt(*planted(1000, distance=0.0), recall=0.7)
    states, is_target = planted(4000, distance=0.0, seed=7)
    passed = gate.passes(states)
    assert passed[is_target].mean() == pytest.approx(passed[~is_target].mean(), abs=0.05)


def test_offset_and_scale_of_states_do_not_matter():
    plain, is_target = planted(200, distance=1.0)
    moved, _ = planted(200, distance=1.0, offset=50.0, scale=0.01)
    one, other = learnt(plain, is_target), learnt(moved, is_target)
    assert (one.passes(plain) == other.passes(moved)).all()


def test_a_value_that_never_changes_is_no_division_by_zero():
    states, is_target = planted(100, distance=3.0)
    states[:, :, 1] = 4.0
    gate = learnt(states, is_target)
    assert np.isfinite(gate.weights).all()
    assert gate.passes(states)[is_target].mean() > 0.8


def test_a_gate_comes_back_from_disk_as_it_was(tmp_path):
    states, is_target = planted(100, distance=1.0)
    gate = learnt(states, is_target)
    save_gate(gate, tmp_path / "gate.safetensors")
    again = load_gate(tmp_path / "gate.safetensors")
    assert (again.passes(states) == gate.passes(states)).all()
    assert (again.layers, again.threshold, again.false_pass) == (
        gate.layers,
        gate.threshold,
        gate.false_pass,
    )


def test_a_file_that_is_no_gate_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.safetensors: holds no gate"):
        load_gate(tmp_path / "nothing.safetensors")


def test_mistakes_are_told():
    states, is_target = planted(100, distance=1.0)
    with pytest.raises(ValueError, match=r"recall is 1\.0"):
        learnt(states, is_target, recall=1.0)
    with pytest.raises(ValueError, match="states of 2 layers and 100 prompts for 1 and 100"):
        learn_gate(states, is_target, layers=(0,), recall=0.9, rng=np.random.default_rng(1))
    with pytest.raises(ValueError, match=r"4 prompt\(s\) of one kind"):
        learnt(states, np.arange(100) < 4)
    with pytest.raises(ValueError, match="states of 1 layers for a gate of 2"):
        learnt(states, is_target).passes(states[:1])
