"""One claim about the shared component, corrected for the layers that were looked at."""

import numpy as np
import pytest

from spillover.analysis.shared_components import EditedReadouts
from spillover.study.explaining.analyses.component_claims import component_claim


def made(concept, layer, *, fall, spread=0.1, seed=0):
    """Readouts of 30 prompts with 2 nats of erosion, some taken away by the shared component."""
    rng = np.random.default_rng([seed, layer, len(concept)])
    aligned = rng.normal(size=30)
    erosion = np.full(30, 2.0)
    return EditedReadouts(
        target_concept="safety",
        concept=concept,
        layer=layer,
        cosine=0.5,
        aligned=aligned,
        tuned=aligned - erosion,
        edited={"shared": erosion - fall - 0.01 * rng.normal(size=30)},
        control=erosion - spread * rng.normal(size=(19, 1)),
    )


def claimed(falls, **settings):
    readouts = [
        made(concept, layer, fall=fall, **settings)
        for concept in ("bias", "privacy")
        for layer, fall in falls.items()
    ]
    return component_claim(readouts, last_layer=9, rng=np.random.default_rng(0))


def test_a_planted_layer_is_found_with_what_it_takes_away():
    found = claimed({3: 0.0, 6: 0.8, 9: 0.1})
    assert "at layer 6" in found.measured
    assert found.value == pytest.approx(0.8, abs=0.01)
    assert (found.outcome, found.p) == ("holds", pytest.approx(1 / 20))


def test_the_last_layer_is_never_the_one():
    found = claimed({3: 0.0, 6: 0.0, 9: 1.9})
    assert "at layer 9" not in found.measured
    assert found.outcome != "holds"


def test_layers_that_tuning_did_not_change_are_left_out():
    readouts = [made("bias", layer, fall=0.5, spread=0.1 * (layer > 3)) for layer in (3, 6)]
    found = component_claim(readouts, last_layer=9, rng=np.random.default_rng(0))
    assert "corrected for 1 layers" in found.null
    assert component_claim(readouts[:1], last_layer=9, rng=np.random.default_rng(0)) is None
    assert component_claim(readouts[1:], last_layer=6, rng=np.random.default_rng(0)) is None


def test_looking_at_many_layers_of_noise_finds_something_no_more_often_than_it_should():
    p = []
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(size=8) * 0.1 / 2**0.5
        falls = {layer: float(noise[layer]) for layer in range(8)}
        p.append(claimed(falls, seed=seed).p)
    # 100 draws of a uniform p: the share at 0.25 or below has a standard error of 0.04.
    assert np.mean(np.array(p) <= 0.25) == pytest.approx(0.25, abs=0.13)
