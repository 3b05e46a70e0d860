"""Shared and private parts of directions, and what directions do to behaviours."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from spillover.analysis.behaviour_probes import first_token_probe, probe_of
from spillover.analysis.direction_parts import (
    effects_of_directions,
    null_range,
    split_direction,
)
from spillover.analysis.dose_curves import random_like
from spillover.analysis.interventions import Resampling
from spillover.models.directions import Direction
from spillover.records import Prompt
from tests.analysis.planted_refusals import REFUSAL, planted_model, prompts, token_id


def direction(values, name="d", **settings):
    given = {"layer": 1, "site": "resid_pre", "activation_norm": 30.0} | settings
    return Direction(name=name, vector=torch.as_tensor(values, dtype=torch.float32), **given)


def test_a_direction_splits_into_two_that_are_orthogonal_and_add_up():
    d = direction([3.0, 4.0, 0.0], "misalignment")
    found = split_direction(d, [direction([2.0, 0.0, 0.0], "refusal")])
    assert_close(found.shared.vector, torch.tensor([3.0, 0.0, 0.0]))
    assert_close(found.private.vector, torch.tensor([0.0, 4.0, 0.0]))
    assert found.shared_share == pytest.approx(9 / 25)  # The squared cosine.
    assert found.expected_random == pytest.approx(1 / 3)
    assert found.private.name == "misalignment less refusal"
    assert found.shared.name == "misalignment within refusal"


def test_a_direction_within_the_others_has_no_private_part():
    others = [direction([1.0, 0.0, 0.0], "a"), direction([1.0, 1.0, 0.0], "b")]
    found = split_direction(direction([2.0, 5.0, 0.0]), others)
    assert found.private is None
    assert found.shared_share == pytest.approx(1.0)


def test_an_orthogonal_direction_has_no_shared_part():
    found = split_direction(direction([0.0, 1.0]), [direction([1.0, 0.0])])
    assert (found.shared, found.shared_share) == (None, 0.0)


def test_directions_of_another_layer_are_refused():
    with pytest.raises(ValueError, match="give directions at resid_pre of layer 1"):
        split_direction(direction([1.0, 0.0]), [direction([1.0, 0.0], layer=0)])


@pytest.fixture(scope="module")
def effects(tiny):
    """What the planted refusal direction and random ones do to harmful and harmless prompts."""
    loaded, planted = planted_model(tiny)
    generator = torch.Generator().manual_seed(0)
    own = direction(planted, "refusal")
    others = [
        Direction(**{**vars(random_like(own, generator=generator)), "name": f"random {i}"})
        for i in range(3)
    ]
    probes = [
        first_token_probe(
            [Prompt(id=t, prompt=t, concept="c") for t in prompts(5, harmful=kind)],
            [token_id(loaded, REFUSAL)],
            of=name,
        )
        for kind, name in ((True, "harmful"), (False, "benign"))
    ]
    resampling = Resampling(rng=np.random.default_rng(0), n_resamples=100)
    return effects_of_directions(loaded, [own, *others], probes=probes, resampling=resampling)


def test_ablating_the_planted_direction_ends_refusals_and_random_ones_do_not(effects):
    by_name = {(e.intervention, e.measure): e for e in effects}
    rate = "harmful refused_by_first_token"
    assert by_name["none", rate].value.value == 1.0
    assert by_name["none", rate].change is None
    assert by_name["ablate refusal", rate].change.value == -1.0
    assert null_range(effects, measure=rate, prefix="ablate random") == (0.0, 0.0)


def test_adding_it_makes_harmless_prompts_refused_and_taking_it_off_the_reverse(effects):
    by_name = {(e.intervention, e.measure): e for e in effects}
    assert by_name["add 1 refusal", "benign refused_by_first_token"].value.value == 1.0
    odds = "harmful refusal_log_odds"
    assert by_name["add -1 refusal", odds].change.ci_high < 0


def test_a_measure_that_was_not_taken_has_no_range(effects):
    with pytest.raises(ValueError, match="no intervention of 'x' begins with 'ablate'"):
        null_range(effects, measure="x", prefix="ablate")


def test_directions_of_one_name_are_refused(tiny):
    d = direction(torch.ones(32))
    with pytest.raises(ValueError, match="give each a name of its own"):
        effects_of_directions(
            tiny,
            [d, d],
            probes=[probe_of(lambda _loaded: [0.0], name="m")],
            resampling=Resampling(rng=np.random.default_rng(0)),
        )
