"""Focused retention part by part: which examples, which layers, and what a part leaves alone."""

import pytest
import torch

from spillover.analysis.states import collect_states, prompt_tokens
from spillover.data.concepts import BENIGN
from spillover.errors import ConfigError
from spillover.study.config.model_runs import model_runs
from spillover.study.containment.case import Case
from spillover.study.containment.focused_retain import calm_layers, focused_retain, nearest_examples


@pytest.fixture
def case(collected):
    """Return a function that makes the case of the small study's containment."""

    def make(*overrides):
        context = collected("contain.steps=4", "contain.method=focused_retain", *overrides)
        run = next(run for run in model_runs(context.config) if run.role == "contained")
        return Case(context=context, section=context.config.contain, run=run, aligned=None)

    return make


def retained(units):
    return {example.id for unit in units for example in unit.retain}


def test_the_examples_farthest_along_the_direction_are_kept_in_their_shares(case):
    made = case()
    loaded = made.load()
    direction = torch.randn(48, generator=torch.Generator().manual_seed(0))
    found = nearest_examples(made.retain, loaded, direction, layer=1, n_examples=16)
    assert found.weights == made.retain.weights
    # Of 16: 3/8 of each of two concepts and 1/8 of each benign set.
    assert {name: len(own) for name, own in found.groups.items()} == {
        "disinformation": 6,
        "privacy": 6,
        "benign_lookalike": 2,
        "benign_plain": 2,
    }
    for name, own in found.groups.items():
        pool = made.retain.groups[name][: 4 * len(own)]
        tokens = prompt_tokens(loaded.chat, [example.prompt for example in pool])
        states = collect_states(
            loaded.model, loaded.architecture, tokens, pad_id=loaded.pad_id, layers=[1]
        )
        projected = (states[0] @ direction).tolist()
        best = sorted(zip(projected, pool, strict=True), key=lambda pair: -pair[0])[: len(own)]
        assert [example.id for example in own] == [example.id for _, example in best]


def test_each_part_changes_its_own_thing_only(case):
    plain = case()
    for part in ("shares", "layers", "examples"):
        made = case(f"contain.options.parts=[{part}]", "contain.options.n_examples=8")
        focus = focused_retain(made)
        assert (focus.section == made.section) == (part != "layers")
        forget = [[e.id for e in unit.forget] for unit in focus.units]
        assert forget == [[e.id for e in unit.forget] for unit in plain.units()]
        if part == "layers":
            assert focus.units == plain.units()
        if part == "examples":
            assert len(retained(focus.units)) <= 8
        if part == "shares":
            benign = [e for unit in focus.units for e in unit.retain if e.concept in BENIGN]
            # 4 steps of 4 with 2 each: a quarter of 32.
            assert len(benign) == 8


def test_the_layers_left_are_the_others_than_those_frozen(case):
    made = case("contain.options.n_layers=1")
    left = calm_layers(made, made.units())
    assert len(left) == 1
    assert made.adapting(left).adapter.layers == left
    with pytest.raises(ConfigError, match="freezing 2 of 2 trained layers"):
        calm_layers(case("contain.options.n_layers=2"), made.units())


def test_a_layer_that_does_not_exist_is_refused(case):
    made = case("contain.options.layer=5")
    with pytest.raises(ConfigError, match=r"contain\.options: layer 5 does not exist; choose from"):
        made.middle_layer(made.load())
