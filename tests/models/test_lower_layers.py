"""Lower layers run once: the same numbers, fewer runs, and nothing left behind."""

import pytest
import torch
from torch.testing import assert_close

from spillover.errors import ModelError
from spillover.generation import GenerationSettings
from spillover.generation.hf import HFGenerator
from spillover.models import edit_activations
from spillover.models.chat import ChatTokens
from spillover.models.logprobs import dataset_logprobs, next_token_logprobs
from spillover.models.lower_layers import lower_layers_once
from spillover.records import Prompt
from tests.models.builders import EXAMPLES, logits_of

PROMPTS = [[7] * 70 + [5, 6], [7] * 70 + [8], [7] * 70 + [9, 10, 11]]


def adding(loaded, amount, *, layer=1, site="resid_pre"):
    return edit_activations(
        loaded.model,
        loaded.architecture,
        site=site,
        layer=layer,
        edit=lambda x: x + amount * torch.linspace(-1, 1, x.shape[-1]),
    )


def once(loaded, **settings):
    return lower_layers_once(loaded.model, loaded.architecture, **{"below": 1} | settings)


def count_runs(module):
    """Count how often a part of a layer runs."""
    runs = []
    handle = module.register_forward_hook(lambda *_: runs.append(1))
    return runs, handle


def next_tokens(loaded, *, share_prefix):
    return next_token_logprobs(
        loaded.model, PROMPTS, pad_id=loaded.pad_id, batch_size=2, share_prefix=share_prefix
    )


@pytest.mark.parametrize("share_prefix", [True, False])
def test_every_strength_gives_what_it_gives_without(loaded, share_prefix):
    expected = []
    for amount in (0.0, 0.5, -2.0):
        with adding(loaded, amount):
            expected.append(next_tokens(loaded, share_prefix=share_prefix))
    with once(loaded) as lower:
        for amount, own in zip((0.0, 0.5, -2.0), expected, strict=True):
            with adding(loaded, amount):
                found = next_tokens(loaded, share_prefix=share_prefix)
            assert_close(found, own, atol=1e-5, rtol=0)
    if loaded.model.config.model_type not in ("gemma3_text", "gemma2", "mistral"):
        assert lower.n_reused >= 4  # Two batches, twice more; with a prefix pass each, if shared.


def test_the_lower_layer_runs_once_and_the_upper_one_each_time(tiny):
    lower = tiny.model.model.layers[0].mlp
    upper = tiny.model.model.layers[1].mlp
    runs, handle = count_runs(lower)
    others, other_handle = count_runs(upper)
    with once(tiny):
        for amount in (0.0, 1.0, 2.0):
            with adding(tiny, amount), torch.no_grad():
                dataset_logprobs(tiny.model, EXAMPLES, pad_id=tiny.pad_id)
    handle.remove()
    other_handle.remove()
    assert (len(runs), len(others)) == (1, 3)


def test_an_edit_of_the_last_lower_layer_s_output_is_made_each_time(tiny):
    ids = (5, 6, 7, 8)
    with once(tiny):
        for amount in (0.5, 3.0):
            with adding(tiny, amount, layer=0, site="resid_post"):
                found = logits_of(tiny.model, ids)
            with once(tiny, below=0), adding(tiny, amount, layer=1):
                expected = logits_of(tiny.model, ids)
            assert_close(found, expected, atol=1e-5, rtol=0)


def test_other_inputs_are_not_taken_for_the_first(tiny):
    expected = [logits_of(tiny.model, ids) for ids in ((5, 6, 7), (5, 6, 8))]
    with once(tiny) as lower:
        assert torch.equal(logits_of(tiny.model, (5, 6, 7)), expected[0])
        assert torch.equal(logits_of(tiny.model, (5, 6, 8)), expected[1])
        assert lower.n_reused == 0
        assert torch.equal(logits_of(tiny.model, (5, 6, 7)), expected[0])
        assert lower.n_reused == 1


def test_a_mask_is_part_of_the_input(tiny):
    ids = torch.tensor([[5, 6, 7, 8]])
    masks = [torch.ones_like(ids), torch.tensor([[0, 1, 1, 1]])]

    def logits(mask):
        with torch.no_grad():
            return tiny.model(input_ids=ids, attention_mask=mask, use_cache=False).logits

    expected = [logits(mask) for mask in masks]
    with once(tiny):
        for mask, own in zip(masks, expected, strict=True):
            assert torch.equal(logits(mask), own)


def test_steered_answers_are_the_same_and_share_their_prefill(tiny):
    prompts = [Prompt(id=t, prompt=t, concept="c") for t in ("one", "another one", "2")]
    settings = GenerationSettings(max_new_tokens=5, batch_size=2)

    def answers():
        return [c.response for c in HFGenerator(tiny, "m").generate(prompts, settings=settings)]

    expected = []
    for amount in (0.0, 1.0, 3.0):
        with adding(tiny, amount):
            expected.append(answers())
    with once(tiny) as lower:
        for amount, own in zip((0.0, 1.0, 3.0), expected, strict=True):
            with adding(tiny, amount):
                assert answers() == own
    assert lower.n_reused == 4


def test_gradients_are_those_of_the_whole_model(tiny):
    model = tiny.model
    ids = torch.tensor([[5, 6, 7]])
    weight = model.model.layers[0].mlp.up_proj.weight.requires_grad_(True)
    try:
        with once(tiny) as lower:
            grads = []
            for _ in range(2):
                model.zero_grad()
                model(input_ids=ids, use_cache=False).logits.sum().backward()
                grads.append(weight.grad.clone())
            assert lower.n_reused == 0
        assert torch.equal(*grads)
        assert grads[0].abs().sum() > 0
    finally:
        weight.requires_grad_(False)
        weight.grad = None


def test_what_does_not_fit_is_not_remembered(tiny):
    with once(tiny, most_tokens=3) as lower:
        for _ in range(2):
            logits_of(tiny.model, (5, 6, 7, 8))
        assert lower.n_reused == 0


def test_the_layers_are_as_before_afterwards_and_after_an_exception(tiny):
    before = logits_of(tiny.model)
    with pytest.raises(KeyError), once(tiny):
        raise KeyError
    assert all("forward" not in layer.__dict__ for layer in tiny.model.model.layers)
    assert torch.equal(logits_of(tiny.model), before)


def test_a_layer_that_does_not_exist_is_refused(tiny):
    with pytest.raises(ModelError, match="layer 2 does not exist"), once(tiny, below=3):
        pass
    assert "forward" not in tiny.model.model.layers[0].__dict__


def test_one_token_at_a_time_runs_as_ever(tiny):
    with once(tiny) as lower, torch.no_grad():
        for _ in range(2):
            dataset_logprobs(tiny.model, [ChatTokens([5, 6], 1)], pad_id=tiny.pad_id)
            logits_of(tiny.model, (5,))
    assert lower.n_reused == 1  # The exchange of two tokens, not the single one.
