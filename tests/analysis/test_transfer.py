"""The transfer matrix: whose direction, ablated in whom, removes how much."""

import numpy as np
import pytest
import torch

from spillover.analysis.behaviour_probes import first_token_probe, text_probe
from spillover.analysis.interventions import Resampling
from spillover.analysis.transfer import transfer_matrix
from spillover.models.directions import Direction
from spillover.records import Prompt
from tests.analysis.chains import exchanges
from tests.analysis.planted_refusals import REFUSAL, planted_model, prompts, token_id

MEASURE = "harmful refusal_log_odds"


def direction(vector, layer=1):
    return Direction(name="d", layer=layer, site="resid_pre", vector=vector)


@pytest.fixture(scope="module")
def organisms(tiny):
    """Two models with planted directions of their own, and one that has none."""
    return {
        "one": planted_model(tiny, seed=1),
        "two": planted_model(tiny, seed=2),
        "none": planted_model(tiny, seed=1, strength=0.0),
    }


def matrix(organisms, *, sources=("one", "two"), targets=("one", "two"), **settings):
    loaded = organisms["one"][0]
    asked = [Prompt(id=t, prompt=t, concept="c") for t in prompts(6, harmful=True)]
    given = {
        "probes": [
            first_token_probe(asked, [token_id(loaded, REFUSAL)], of="harmful"),
            text_probe(exchanges(4), of="some"),
        ],
        "measure": MEASURE,
        "reference": lambda: organisms["none"][0],
        "generator": torch.Generator().manual_seed(0),
        "resampling": Resampling(rng=np.random.default_rng(0), n_resamples=200),
        "n_random": 3,
    }
    return transfer_matrix(
        {name: lambda name=name: organisms[name][0] for name in targets},
        {name: [direction(organisms[name][1])] for name in sources},
        **given | settings,
    )


def test_a_model_s_own_direction_removes_all_and_another_s_nothing(organisms):
    found = matrix(organisms, targets=("one",))
    own, other = found.cells
    assert own.removed.value == pytest.approx(1.0, abs=0.1)
    assert abs(other.removed.value) < 0.4
    assert len(own.random_removed) == 3
    assert max(own.random_removed) < own.removed.value
    assert {e.measure for e in own.effects} >= {MEASURE, "some text_logprob"}
    assert own.effects[0].intervention == "ablate one"


def test_an_organism_without_misalignment_has_no_share(organisms):
    found = matrix(organisms, sources=("one",), targets=("none",))
    assert found.cells[0].removed is None
    assert found.cells[0].random_removed == ()


def test_layer_wise_ablation_takes_one_direction_a_layer(organisms):
    vector = organisms["one"][1]
    directions = {"one": [direction(vector, 0), direction(vector, 1)]}
    loaded = organisms["one"][0]
    asked = [Prompt(id=t, prompt=t, concept="c") for t in prompts(4, harmful=True)]
    found = transfer_matrix(
        {"one": lambda: loaded},
        directions,
        probes=[first_token_probe(asked, [token_id(loaded, REFUSAL)], of="harmful")],
        measure=MEASURE,
        reference=lambda: organisms["none"][0],
        generator=torch.Generator().manual_seed(0),
        resampling=Resampling(rng=np.random.default_rng(0), n_resamples=50),
        layerwise=True,
        n_random=0,
    )
    assert found.cells[0].removed.value == pytest.approx(1.0, abs=0.1)


def test_a_matrix_becomes_a_table_and_a_figure(organisms):
    found = matrix(organisms, n_random=0)
    assert (found.sources, found.targets) == (["one", "two"], ["one", "two"])
    assert len(found.to_frame()) == 4 * 3  # Two measures of refusal and one of text.
    assert len(found.plot().axes) == 1


def test_a_measure_that_no_probe_gives_is_refused(organisms):
    with pytest.raises(ValueError, match="no probe gives 'em_rate'"):
        matrix(organisms, measure="em_rate")
