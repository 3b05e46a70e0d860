"""Whether directions tell their concept apart."""

import numpy as np
import pytest
import torch

from spillover.analysis.concept_vectors import concept_directions
from spillover.analysis.separability import area_under_roc, separability


def test_a_planted_direction_separates_and_the_wrong_one_does_not():
    generator = torch.Generator().manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(24, generator=generator), dim=0)

    def states(n, *, shift):
        return torch.randn(1, n, 24, generator=generator) + shift * direction

    made, held, neutral = states(40, shift=4), states(40, shift=4), states(80, shift=0)
    found = separability(
        {
            "mean_difference": concept_directions(
                {"a": made}, method="mean_difference", neutral=neutral[:, :40]
            )
        },
        states={"a": held},
        neutral=neutral[:, 40:],
        layers=[3],
        generator=generator,
    )
    assert found.values["mean_difference"][0, 0] > 0.95
    assert found.random_high[0] < 0.95
    assert found.to_frame().loc[0, "layer"] == 3
    assert found.plot().axes[0].get_xlabel() == "layer"


def test_the_area_does_not_change_with_a_monotone_map_and_turns_over_with_the_sign():
    rng = np.random.default_rng(0)
    one, other = rng.normal(1, 1, 30), rng.normal(0, 1, 20)
    area = area_under_roc(one, other)
    assert area_under_roc(np.exp(one), np.exp(other)) == pytest.approx(area)
    assert area_under_roc(-one, -other) == pytest.approx(1 - area)


def test_states_of_one_kind_have_an_area_of_one_half_on_average():
    areas = [
        area_under_roc(*np.random.default_rng(seed).normal(size=(2, 20))) for seed in range(200)
    ]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.02)
