"""Edits of the last prompt token, against whole forward passes with the same edit."""

import pytest
import torch

from spillover.analysis.last_token_runs import (
    cache_prompts,
    edited_logprobs,
    last_token_logprobs,
    last_token_states,
)
from spillover.errors import ModelError
from spillover.models.chat import ChatTokens
from spillover.models.hooks import edit_activations, record_activations
from spillover.models.logprobs import next_token_logprobs

LENGTHS = (5, 9, 2, 7)


def prompts(*, seed=0, lengths=LENGTHS):
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(3, 200, (n,), generator=generator).tolist() for n in lengths]
    return [ChatTokens(ids, len(ids)) for ids in rows]


def whole_pass(loaded, row, *, site, layer, vector):
    """The first token's log-distribution with a vector added at the last token, all computed."""

    def edit(activations):
        new = activations.clone()
        new[:, -1] += vector
        return new

    ids = torch.tensor([row.input_ids])
    with (
        torch.no_grad(),
        edit_activations(loaded.model, loaded.architecture, site=site, layer=layer, edit=edit),
    ):
        return torch.log_softmax(loaded.model(ids).logits[0, -1].float(), dim=-1)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_nothing_edited_is_the_next_token_distribution(tiny_family, family):
    loaded = tiny_family(family)
    rows = prompts()
    cached = cache_prompts(loaded.model, rows, pad_id=loaded.pad_id, batch_size=3)
    found = last_token_logprobs(loaded.model, loaded.architecture, cached)
    expected = next_token_logprobs(
        loaded.model, [row.input_ids for row in rows], pad_id=loaded.pad_id
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("site", ["resid_pre", "resid_post", "attn_out", "mlp_out"])
def test_an_edit_is_the_same_as_in_a_whole_pass(tiny, site):
    rows = prompts()
    cached = cache_prompts(tiny.model, rows, pad_id=tiny.pad_id, batch_size=3)
    edits = torch.randn(2, len(rows), 32, generator=torch.Generator().manual_seed(1))
    found = edited_logprobs(tiny.model, tiny.architecture, cached, edits, site=site, layer=0)
    for draw in range(2):
        for place, row in enumerate(rows):
            expected = whole_pass(tiny, row, site=site, layer=0, vector=edits[draw, place])
            torch.testing.assert_close(found[draw, place], expected, atol=1e-5, rtol=1e-4)


def test_many_edits_at_once_give_what_they_give_one_by_one(tiny):
    rows = prompts()
    cached = cache_prompts(tiny.model, rows, pad_id=tiny.pad_id)
    # More than are run in one pass: 192 rows, 4 prompts.
    edits = torch.randn(60, len(rows), 32, generator=torch.Generator().manual_seed(1))
    run = {"site": "resid_post", "layer": 1}
    together = edited_logprobs(tiny.model, tiny.architecture, cached, edits, **run)
    alone = edited_logprobs(tiny.model, tiny.architecture, cached, edits[57:58], **run)
    torch.testing.assert_close(together[57:58], alone, atol=1e-5, rtol=1e-4)


def test_states_are_those_of_the_last_token(tiny):
    rows = prompts()
    cached = cache_prompts(tiny.model, rows, pad_id=tiny.pad_id, batch_size=3)
    found = last_token_states(
        tiny.model, tiny.architecture, cached, sites=["resid_post", "mlp_out"], layers=[1]
    )
    for place, row in enumerate(rows):
        with (
            torch.no_grad(),
            record_activations(
                tiny.model, tiny.architecture, sites=["resid_post", "mlp_out"]
            ) as seen,
        ):
            tiny.model(torch.tensor([row.input_ids]))
        for site in ("resid_post", "mlp_out"):
            torch.testing.assert_close(
                found[site][0, place], seen[site, 1][0, -1], atol=1e-5, rtol=1e-4
            )


def test_a_response_is_left_out(tiny):
    (row,) = prompts(lengths=(6,))
    longer = ChatTokens([*row.input_ids, 9, 9], 6)
    found = [
        last_token_logprobs(
            tiny.model, tiny.architecture, cache_prompts(tiny.model, [one], pad_id=tiny.pad_id)
        )
        for one in (row, longer)
    ]
    torch.testing.assert_close(*found)


def test_prompts_of_one_token_and_models_without_keys_and_values_are_refused(tiny):
    with pytest.raises(ValueError, match="1 prompts; give at least one, each of two tokens"):
        cache_prompts(tiny.model, prompts(lengths=(1,)), pad_id=tiny.pad_id)
    with pytest.raises(ModelError, match="Linear: its memory of a prompt is not keys and values"):
        cache_prompts(torch.nn.Linear(1, 1), prompts(), pad_id=0)
