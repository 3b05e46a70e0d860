"""Inside of rank-1 organisms: scalars, roles and token significance."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from spillover.analysis.behaviour_probes import probe_of, text_logprobs
from spillover.analysis.interventions import Resampling
from spillover.analysis.rank_one import (
    adapter_roles,
    answer_scalars,
    scaling_effects,
    token_significance,
)
from spillover.models.adapters import add_lora
from spillover.models.architecture import mlp_output
from spillover.models.chat import ChatTokens
from spillover.models.live_adapters import adapted_modules, recorded_scalars, scaled_adapter

EXAMPLES = [
    ChatTokens([5, 6, 7, 8, 9], 3),
    ChatTokens([12, 13, 14], 1),
    ChatTokens([20, 21, 22, 23, 24, 25, 26], 2),
]
RESAMPLING = {"n_resamples": 200}


@pytest.fixture
def organism(tiny):
    """Return the tiny model with a rank-1 adapter on both MLP outputs, the second one cut out."""
    wrapped = add_lora(
        copy.deepcopy(tiny.model),
        tiny.architecture,
        rank=1,
        target_modules=(mlp_output(tiny.model, tiny.architecture),),
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                keep = 0.0 if ".layers.1." in name else 1.0
                parameter.copy_(keep * torch.randn(parameter.shape, generator=generator))
    wrapped.requires_grad_(False)
    return replace(tiny, model=wrapped.eval())


@pytest.mark.parametrize("batch_size", [1, 8])
def test_scalars_are_those_of_the_response_tokens_whatever_the_batches(organism, batch_size):
    found = answer_scalars(organism, EXAMPLES, batch_size=batch_size)
    assert found.modules == tuple(adapted_modules(organism.model))
    for example, values in zip(EXAMPLES, found.tokens, strict=True):
        with recorded_scalars(organism.model) as scalars, torch.no_grad():
            organism.model(input_ids=torch.tensor([example.input_ids]))
        expected = torch.cat([scalars[name][0][0] for name in found.modules], dim=1)
        np.testing.assert_allclose(
            values, expected[example.prompt_length :].numpy(), rtol=1e-4, atol=1e-5
        )
    assert found.means.shape == (3, 2)
    assert found.means[1] == pytest.approx(found.tokens[1].mean(axis=0))


def test_cutting_out_an_adapter_that_does_nothing_changes_nothing(organism):
    texts = [ChatTokens([3 + i, 6, 7, 8 + i, 9, 10], 2) for i in range(12)]
    probes = [
        probe_of(lambda loaded: text_logprobs(loaded, texts[:6]), name="general"),
        probe_of(lambda loaded: text_logprobs(loaded, texts[6:]), name="narrow"),
    ]
    effects = scaling_effects(
        organism,
        probes,
        factor=0.0,
        resampling=Resampling(rng=np.random.default_rng(0), **RESAMPLING),
    )
    first, second = adapted_modules(organism.model)
    assert list(effects) == [first, second, "all"]
    assert effects[second][0].change.value == pytest.approx(0, abs=1e-6)
    assert effects[first][0].change.value == pytest.approx(effects["all"][0].change.value, abs=1e-5)
    assert abs(effects[first][0].change.value) > 1e-3
    roles = {
        found.module: found.role
        for found in adapter_roles(effects, general="general", narrow="narrow")
    }
    assert roles[second] == "neither"
    assert roles.keys() == {first, second, "all"}
    with pytest.raises(ValueError, match="'other' are wanted"):
        adapter_roles(effects, general="general", narrow="other")


def test_token_significances_sum_to_the_kl_and_leave_out_what_comes_after(organism):
    example = EXAMPLES[2]
    found = token_significance(organism, example)
    ids = torch.tensor([example.input_ids])
    with torch.no_grad():
        tuned = organism.model(input_ids=ids).logits[0, 1:-1].log_softmax(dim=-1)
        with scaled_adapter(organism.model, 0.0):
            plain = organism.model(input_ids=ids).logits[0, 1:-1].log_softmax(dim=-1)
    kl = (plain.exp() * (plain - tuned)).sum().item()
    assert found.kl == pytest.approx(kl, rel=1e-3)
    assert found.values.sum() == pytest.approx(found.kl)
    assert found.values.shape == (6,)
    assert (found.values >= 0).all()


def test_an_adapter_that_changes_nothing_has_no_significant_tokens(organism):
    with scaled_adapter(organism.model, 0.0), pytest.raises(ValueError, match="changes nothing"):
        token_significance(organism, EXAMPLES[0])
