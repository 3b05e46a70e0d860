"""Patching one model's activations into another."""

import numpy as np
import pytest
import torch

from spillover.analysis.activation_patching import (
    PatchedReadouts,
    as_long_as,
    patched_readouts,
    patching_curve,
    share_of_gap,
)
from spillover.analysis.last_token_runs import (
    cache_prompts,
    last_token_logprobs,
    last_token_states,
)
from spillover.analysis.refusal_readout import refusal_log_odds
from tests.analysis.chains import EVERYWHERE, changed
from tests.analysis.test_last_token_runs import prompts

TOKENS = (40, 41, 42)
SITES = ("resid_post", "attn_out", "mlp_out")


def seen_of(loaded, rows):
    cached = cache_prompts(loaded.model, rows, pad_id=loaded.pad_id)
    states = last_token_states(
        loaded.model, loaded.architecture, cached, sites=SITES, layers=[0, 1]
    )
    logprobs = last_token_logprobs(loaded.model, loaded.architecture, cached)
    return cached, states, refusal_log_odds(logprobs, TOKENS)


def patched(receiver, donor, rows):
    cached, own, receiver_readout = seen_of(receiver, rows)
    _, theirs, donor_readout = seen_of(donor, rows)
    return patched_readouts(
        receiver.model,
        receiver.architecture,
        cached,
        own=own,
        donor=theirs,
        donor_readout=donor_readout,
        receiver_readout=receiver_readout,
        layers=[0, 1],
        tokens=TOKENS,
        generator=torch.Generator().manual_seed(0),
        n_controls=5,
    )


def test_a_model_patched_with_itself_does_not_change(tiny):
    found = patched(tiny, tiny, prompts())
    # The controls are as long as the patch: not at all.
    np.testing.assert_allclose(found.patched, np.broadcast_to(found.receiver, (3, 2, 4)), atol=1e-5)
    assert np.abs(found.control - found.receiver).max() < 1e-5


def test_the_last_residual_stream_carries_all_of_the_difference(tiny):
    donor = changed(tiny, amount=1, parameters=EVERYWHERE)  # Head and final norm are the same.
    found = patched(tiny, donor, prompts())
    assert np.abs(found.donor - found.receiver).max() > 0.01
    np.testing.assert_allclose(found.patched[0, 1], found.donor, atol=1e-4)
    curve = patching_curve(found, donor="d", receiver="r", rng=np.random.default_rng(0))
    assert curve.of("resid_post")[1].change.value == pytest.approx(curve.gap.value, abs=1e-4)


def test_only_the_site_that_was_changed_carries_the_difference(tiny):
    donor = changed(tiny, amount=1, parameters=["model.layers.1.mlp.down_proj.weight"])
    found = patched(tiny, donor, prompts())
    np.testing.assert_allclose(found.patched[2, 1], found.donor, atol=1e-4)  # mlp_out, layer 1
    np.testing.assert_allclose(found.patched[1, 1], found.receiver, atol=1e-5)  # attn_out
    np.testing.assert_allclose(found.patched[:, 0], np.tile(found.receiver, (3, 1)), atol=1e-5)


def made(*, change, control=0.0, n=40, seed=0):
    rng = np.random.default_rng(seed)
    receiver = rng.normal(size=n)
    return PatchedReadouts(
        sites=("resid_post",),
        layers=(3,),
        donor=receiver + 2.0,
        receiver=receiver,
        patched=(receiver + change)[None, None],
        control=receiver + control * rng.normal(size=(1, 1, 99, 1)),
    )


def test_the_share_of_a_planted_change_is_read_back():
    curve = patching_curve(
        made(change=0.5, control=0.1), donor="a", receiver="b", rng=np.random.default_rng(0)
    )
    (effect,) = curve.effects
    # 0.5 of a gap of 2; all prompts alike, so the interval has no width.
    assert effect.share.value == pytest.approx(0.25)
    assert effect.share.ci_low == pytest.approx(0.25)
    assert effect.p == pytest.approx(1 / 100)
    assert curve.to_frame().loc[0, "share"] == pytest.approx(0.25)
    assert curve.plot().axes[0].get_ylabel() == "change of the readout (nats)"


def test_a_patch_that_does_what_random_vectors_do_has_a_uniform_p_value():
    found = [
        patching_curve(
            made(change=np.random.default_rng(1000 + seed).normal(), control=1.0, seed=seed),
            donor="a",
            receiver="b",
            rng=np.random.default_rng(0),
            n_resamples=2,
        )
        .effects[0]
        .p
        for seed in range(200)
    ]
    # 200 draws of a uniform: the share below 0.25 has a standard error of 0.03.
    assert np.mean(np.array(found) <= 0.25) == pytest.approx(0.25, abs=0.1)
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)


def test_random_vectors_are_as_long_as_the_patch_and_one_direction_a_draw():
    patch = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]])
    drawn = as_long_as(patch, n=4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.norm(dim=-1), torch.tensor([[5.0, 1.0]]).expand(4, 2))
    torch.testing.assert_close(drawn[:, 0] / 5, drawn[:, 1])


def test_there_is_no_share_of_a_gap_that_is_not_told_from_zero():
    weights = np.random.default_rng(0).multinomial(4, [0.25] * 4, size=200) / 4
    assert share_of_gap(np.ones(4), np.array([1.0, -1, 1, -1]), weights, level=0.95) is None
