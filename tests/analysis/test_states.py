"""States of all layers in one pass: the right token, whatever the batch, the padding or PEFT."""

import pytest
import torch

from spillover.analysis.states import collect_states, layer_at, prompt_tokens
from spillover.errors import SpilloverError
from spillover.models import record_activations
from spillover.models.chat import ChatTokens
from tests.models.builders import EXAMPLES, random_lora

POSITIONS = ("last_prompt_token", "last_token", "response_mean")


def states_of(loaded, examples=EXAMPLES, *, model=None, **settings):
    model = loaded.model if model is None else model
    return collect_states(model, loaded.architecture, examples, pad_id=loaded.pad_id, **settings)


def one_by_one(loaded, example, *, model=None):
    """Residual stream after each layer for one example without padding: layer, token, d_model."""
    ids = torch.tensor([example.input_ids])
    model = loaded.model if model is None else model
    with torch.no_grad(), record_activations(model, loaded.architecture) as found:
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return torch.stack([found[("resid_post", layer)][0] for layer in (0, 1)])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_each_position_is_the_token_it_names(tiny, side, batch_size):
    found = {
        at: states_of(tiny, at=at, padding_side=side, batch_size=batch_size) for at in POSITIONS
    }
    for i, example in enumerate(EXAMPLES):
        alone = one_by_one(tiny, example)
        start = example.prompt_length
        expected = {
            "last_prompt_token": alone[:, start - 1],
            "last_token": alone[:, -1],
            "response_mean": alone[:, start:].mean(dim=1),
        }
        for at in POSITIONS:
            torch.testing.assert_close(found[at][:, i], expected[at], atol=2e-5, rtol=0)


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "gemma2", "gpt_neox"])
def test_other_families_give_the_states_of_their_rows_alone(family, tiny_family):
    loaded = tiny_family(family)
    found = states_of(loaded, at="last_token", batch_size=4)
    expected = torch.stack([one_by_one(loaded, example)[:, -1] for example in EXAMPLES], dim=1)
    torch.testing.assert_close(found, expected, atol=5e-5, rtol=1e-4)


def test_the_order_of_examples_only_reorders_the_states(tiny):
    forwards = states_of(tiny, EXAMPLES, batch_size=2)
    backwards = states_of(tiny, EXAMPLES[::-1], batch_size=2)
    torch.testing.assert_close(forwards, backwards.flip(1), atol=1e-5, rtol=0)


def test_a_peft_wrapped_model_is_read_with_its_adapter(tiny):
    wrapped = random_lora(tiny)
    adapted = states_of(tiny, model=wrapped)
    assert (adapted - states_of(tiny)).abs().max() > 1e-3
    alone = one_by_one(tiny, EXAMPLES[0], model=wrapped)
    torch.testing.assert_close(adapted[:, 0], alone[:, 2], atol=2e-5, rtol=0)
    with wrapped.disable_adapter():
        torch.testing.assert_close(states_of(tiny, model=wrapped), states_of(tiny))


def test_chosen_layers_are_the_same_rows_as_in_all_layers(tiny):
    everything = states_of(tiny)
    assert torch.equal(states_of(tiny, layers=[-1]), everything[1:])
    assert torch.equal(states_of(tiny, layers=[1, 0]), everything)


def test_the_response_does_not_change_the_state_of_the_prompt(tiny):
    shorter = [ChatTokens(e.input_ids[: e.prompt_length], e.prompt_length) for e in EXAMPLES]
    torch.testing.assert_close(states_of(tiny), states_of(tiny, shorter), atol=1e-6, rtol=0)


def test_prompt_tokens_end_where_the_model_starts_to_answer(tiny):
    (tokens,) = prompt_tokens(tiny.chat, ["Hi"])
    assert tokens.prompt_length == len(tokens.input_ids)
    assert tokens.input_ids == tiny.chat.prompt_ids("Hi")


def test_no_hooks_are_left_behind(tiny):
    layer = tiny.architecture.layer(tiny.model, 0)
    before = dict(layer._forward_hooks)  # transformers leaves some of its own.
    states_of(tiny)
    assert dict(layer._forward_hooks) == before


def test_examples_without_the_token_asked_for_are_named(tiny):
    with pytest.raises(ValueError, match="example 1 has no token to take the state of"):
        states_of(tiny, [EXAMPLES[0], ChatTokens([5, 6], 2)], at="response_mean")
    with pytest.raises(ValueError, match="no examples"):
        states_of(tiny, [])


def test_layers_that_do_not_exist_are_refused(tiny):
    with pytest.raises((ValueError, SpilloverError), match="choose from 0 to 1"):
        states_of(tiny, layers=[2])
    with pytest.raises(ValueError, match="layer 12 does not exist"):
        layer_at(12, n_layers=12)
    with pytest.raises(ValueError, match=r"depth 1\.5 is not in \[0, 1\]"):
        layer_at(1.5, n_layers=12)
