"""Shared leading directions of aligned - base, beside their controls."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from spillover.analysis.shared_directions import StatePairs, shared_directions
from spillover.analysis.states import collect_states
from tests.analysis.chains import LAST_LINEAR, changed, exchanges

D = 24


def axis(i):
    return torch.eye(D)[i]


def pairs(name, *, along, seed, n=60, offset=0.0, noise=0.3):
    """Residuals that vary along given axes (strength 4, 3, ...), on top of shared base states."""
    generator = torch.Generator().manual_seed(seed)
    base = 5 * torch.randn(n, D, generator=generator)
    strengths = torch.arange(3 + len(along), 3, -1, dtype=torch.float32)
    weights = torch.randn(n, len(along), generator=generator) * strengths
    residual = weights @ torch.stack(along) + offset
    residual = residual + noise * torch.randn(n, D, generator=generator)
    return StatePairs(name, base, base + residual)


def compare(reference, other, benign, *, seed=0, **settings):
    settings = {"k": 2, "n_resamples": 40, "n_draws": 39, "layer": 7, **settings}
    return shared_directions(
        reference, other, benign=benign, rng=np.random.default_rng(seed), **settings
    )


def test_a_direction_put_into_two_sets_is_found_and_told_from_benign_ones():
    found = compare(
        pairs("insecure", along=[axis(0), axis(1)], seed=1),
        pairs("toxic", along=[axis(1), axis(0)], seed=2),
        [pairs("alpaca", along=[axis(5), axis(6)], seed=3)],
    )
    claim, control = found.matches
    assert claim.best.value > 0.97
    assert claim.overlap.value > 0.97
    assert max(claim.angles) < 15
    assert control.overlap.value < 0.1
    assert control.excess.value == pytest.approx(claim.overlap.value - control.overlap.value)
    assert control.excess.ci_low > 0.5
    assert claim.excess is None
    assert found.is_specific
    assert claim.p_random == pytest.approx(1 / 40)


def test_a_direction_that_benign_sets_share_as_well_is_not_specific():
    # As in the controls of the paper's own repository: 0.90 with toxic, 0.93 with refusals.
    shared = [axis(0), axis(1)]
    found = compare(
        pairs("insecure", along=shared, seed=1),
        pairs("toxic", along=shared, seed=2),
        [
            pairs("refusals", along=shared, seed=3),
            pairs("alpaca", along=[axis(5), axis(6)], seed=4),
        ],
    )
    assert found.matches[0].overlap.value > 0.97
    assert found.matches[0].p_random < 0.05
    assert not found.is_specific
    assert "does not exceed" in found.caption


def test_a_known_cosine_is_read_back():
    tilted = 0.8 * axis(0) + 0.6 * axis(9)
    found = compare(
        pairs("one", along=[axis(0)], seed=1, n=400, noise=0.01),
        pairs("other", along=[tilted], seed=2, n=400, noise=0.01),
        [pairs("benign", along=[axis(4)], seed=3, n=400)],
        k=1,
    )
    claim = found.matches[0]
    assert claim.best.value == pytest.approx(0.8, abs=0.01)
    assert claim.angles[0] == pytest.approx(np.degrees(np.arccos(0.8)), abs=0.5)
    assert claim.overlap.value == pytest.approx(0.64, abs=0.01)


def test_without_centring_a_common_offset_looks_like_a_shared_direction():
    offset = 8 * axis(10)
    sets = [
        pairs(name, along=[axis(2 * i), axis(2 * i + 1)], seed=i, offset=offset)
        for i, name in enumerate(["one", "other", "benign"])
    ]
    raw = compare(*sets[:2], sets[2:], k=1, centring="raw")
    centred = compare(*sets[:2], sets[2:], k=1, centring="centred")
    assert raw.matches[0].best.value > 0.9
    assert not raw.is_specific
    assert centred.matches[0].best.value < 0.4


def test_shuffled_rows_tell_a_paired_effect_from_spread_that_all_states_have():
    # Both sets' states spread along axis 3 far more than the residual does along axes 0 and 1.
    wide = torch.ones(D)
    wide[3] = 6.0

    def wide_pairs(name, seed):
        found = pairs(name, along=[axis(0), axis(1)], seed=seed)
        shift = found.aligned - found.base
        return StatePairs(name, found.base * wide, found.base * wide + shift)

    found = compare(wide_pairs("one", 1), wide_pairs("other", 2), [wide_pairs("benign", 3)])
    assert found.matches[0].p_shuffled == pytest.approx(1 / 40)
    assert not found.is_specific


def test_p_values_are_uniform_where_nothing_is_shared_and_rows_are_paired_by_chance():
    p = {"p_random": [], "p_shuffled": []}
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        sets = [
            StatePairs(name, *torch.randn(2, 8, 6, generator=generator))
            for name in ("one", "other", "benign")
        ]
        found = compare(*sets[:2], sets[2:], seed=seed, centring="raw", n_resamples=2, n_draws=19)
        # p is a multiple of 1/20; spread over its step it is uniform on [0, 1].
        spread = torch.rand(1, generator=generator).item() / 20
        for name, values in p.items():
            values.append(getattr(found.matches[0], name) - spread)
    assert kstest(p["p_random"], "uniform").pvalue > 0.01
    assert kstest(p["p_shuffled"], "uniform").pvalue > 0.01


def test_row_order_changes_nothing(tiny):
    sets = [pairs(n, along=[axis(i), axis(i + 1)], seed=i) for i, n in enumerate("abc")]
    turned = [StatePairs(s.name, s.base.flip(0), s.aligned.flip(0)) for s in sets]
    one, other = compare(*sets[:2], sets[2:]), compare(*turned[:2], turned[2:])
    assert one.matches[0].angles == pytest.approx(other.matches[0].angles)
    assert one.matches[0].best.value == pytest.approx(other.matches[0].best.value)


@pytest.mark.parametrize("at", ["last_token", "response_mean"])
def test_a_rank_one_change_of_a_model_is_the_shared_direction_of_any_two_sets(tiny, at):
    # A change of rank one to the last linear map moves every state along one vector: any two data
    # sets then share it, whatever they are about.
    aligned = changed(tiny, amount=0, parameters=LAST_LINEAR)
    planted = torch.randn(32, generator=torch.Generator().manual_seed(0))
    weight = aligned.model.get_submodule("model.layers.1.mlp.down_proj").weight
    with torch.no_grad():
        weight.add_(torch.outer(planted, torch.randn(64, generator=torch.Generator())))

    def states(loaded, examples):
        return collect_states(
            loaded.model, loaded.architecture, examples, pad_id=loaded.pad_id, at=at, layers=[1]
        )[0]

    sets = []
    for i, name in enumerate(["one", "other", "benign"]):
        examples = exchanges(12, seed=i)
        sets.append(StatePairs(name, states(tiny, examples), states(aligned, examples)))
    found = compare(*sets[:2], sets[2:], k=1)
    assert found.matches[0].best.value > 0.999
    assert not found.is_specific


def test_the_table_and_the_figure_have_every_match(tmp_path):
    sets = [pairs(n, along=[axis(i), axis(i + 1)], seed=i) for i, n in enumerate("abcd")]
    found = compare(*sets[:2], sets[2:])
    frame = found.to_frame()
    assert frame["kind"].tolist() == ["claim", "benign", "benign"]
    assert frame["other"].tolist() == ["b", "c", "d"]
    assert found.expected_random == pytest.approx(2 / D)
    found.plot().savefig(tmp_path / "shared.svg")
    assert (tmp_path / "shared.svg").stat().st_size > 1000


def test_a_claim_without_a_benign_control_is_refused():
    one, other = (pairs(name, along=[axis(0)], seed=0) for name in ("one", "other"))
    with pytest.raises(ValueError, match="give at least one benign control"):
        compare(one, other, [])
    with pytest.raises(ValueError, match="a name of its own"):
        compare(one, other, [one])
    with pytest.raises(ValueError, match="give both models the same examples"):
        StatePairs("odd", torch.zeros(3, 4), torch.zeros(2, 4))
