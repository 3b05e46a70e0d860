"""Exact distances between models at every response token."""

import copy

import numpy as np
import pytest
import torch

from spillover.analysis.token_distances import kl_from, token_distributions
from spillover.models.chat import ChatTokens

EXAMPLES = [
    ChatTokens([5, 6, 7, 8, 9], 3),
    ChatTokens([12, 13, 14], 1),
    ChatTokens([20, 21, 22, 23, 24, 25, 26], 2),
]


@pytest.fixture
def other(tiny):
    """Return the tiny model with one weight matrix shaken."""
    model = copy.deepcopy(tiny.model)
    weight = model.model.layers[1].mlp.down_proj.weight
    weight.data += torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    return model


def test_a_model_is_at_no_distance_from_itself(tiny):
    reference = token_distributions(tiny.model, EXAMPLES, pad_id=0)
    assert np.abs(kl_from(reference, tiny.model)).max() < 1e-5


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_the_distance_is_the_mean_kl_over_response_tokens_whatever_the_batches(
    tiny, other, batch_size
):
    reference = token_distributions(tiny.model, EXAMPLES, pad_id=0, batch_size=batch_size)
    found = kl_from(reference, other)
    for example, value in zip(EXAMPLES, found, strict=True):
        ids = torch.tensor([example.input_ids])
        with torch.no_grad():
            first, second = (
                m(input_ids=ids).logits[0, example.prompt_length - 1 : -1].log_softmax(dim=-1)
                for m in (tiny.model, other)
            )
        expected = (first.exp() * (first - second)).sum(dim=-1).mean().item()
        assert value == pytest.approx(expected, rel=0.02)
        assert value > 1e-3


def test_nothing_to_read_is_refused(tiny):
    with pytest.raises(ValueError, match="no examples"):
        token_distributions(tiny.model, [], pad_id=0)
