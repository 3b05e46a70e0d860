"""Log-probabilities at response positions against the plain computation from full logits."""

import copy
import math
import types

import pytest
import torch
from torch import nn

from spillover.models import dataset_logprobs, pad_batch, response_logprobs, token_logprobs
from spillover.models.chat import ChatTokens
from spillover.models.logprobs import next_token_logprobs
from tests.models.builders import EXAMPLES, naive_token_logprobs, random_lora

CLOSE = {"atol": 2e-5, "rtol": 0}


class Bigram(nn.Module):
    """A model whose logits depend on the current token only: one row of a table each."""

    def __init__(self, table):
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(torch.eye(len(table)))
        self.head = nn.Linear(len(table), len(table), bias=False)
        self.head.weight = nn.Parameter(table.T.clone())

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, **_kwargs):
        return types.SimpleNamespace(logits=self.head(self.embedding(input_ids)))


def test_log_probability_of_a_two_token_response_worked_by_hand():
    # After token 0: probabilities 1/2, 1/4, 1/4. After token 1: 1/8, 1/8, 3/4.
    table = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.125, 0.75], [1 / 3, 1 / 3, 1 / 3]]).log()
    batch = pad_batch([ChatTokens([0, 1, 2], 1)], pad_id=0)
    tokens = token_logprobs(Bigram(table), batch)
    assert tokens[0].tolist() == pytest.approx([0.0, math.log(1 / 4), math.log(3 / 4)])
    found = response_logprobs(Bigram(table), batch)
    assert found.total.item() == pytest.approx(math.log(3 / 16))
    assert found.n_tokens.item() == 2


@pytest.mark.parametrize("side", ["left", "right"])
def test_token_logprobs_equal_those_from_full_logits(loaded, side):
    batch = pad_batch(EXAMPLES, pad_id=loaded.pad_id, padding_side=side)
    found = token_logprobs(loaded.model, batch)
    for row, example in enumerate(EXAMPLES):
        naive = naive_token_logprobs(loaded.model, example)
        torch.testing.assert_close(found[row][batch.response_mask[row]], naive, **CLOSE)
    assert (found[~batch.response_mask] == 0).all()


def test_a_batch_gives_what_its_rows_give_alone(loaded):
    together = response_logprobs(loaded.model, pad_batch(EXAMPLES, pad_id=loaded.pad_id))
    for row, example in enumerate(EXAMPLES):
        alone = response_logprobs(loaded.model, pad_batch([example], pad_id=loaded.pad_id))
        torch.testing.assert_close(together.total[row : row + 1], alone.total, **CLOSE)
        assert together.n_tokens[row] == alone.n_tokens[0]


def test_soft_capping_after_the_projection_still_happens(tiny_family):
    loaded = tiny_family("gemma2")
    model = copy.deepcopy(loaded.model)
    model.config.final_logit_softcapping = 0.05  # Bites: the tiny model's logits are about 0.1.
    batch = pad_batch(EXAMPLES[:1], pad_id=loaded.pad_id)
    found = token_logprobs(model, batch)[batch.response_mask]
    torch.testing.assert_close(found, naive_token_logprobs(model, EXAMPLES[0]), **CLOSE)
    uncapped = token_logprobs(loaded.model, batch)[batch.response_mask]
    assert (found - uncapped).abs().max() > 1e-3


def test_an_adapter_takes_effect(tiny):
    wrapped = random_lora(tiny)
    batch = pad_batch(EXAMPLES[:1], pad_id=tiny.pad_id)
    found = token_logprobs(wrapped, batch)[batch.response_mask]
    torch.testing.assert_close(found, naive_token_logprobs(wrapped, EXAMPLES[0]), **CLOSE)
    assert (found - naive_token_logprobs(tiny.model, EXAMPLES[0])).abs().max() > 1e-3


def test_gradients_equal_those_from_full_logits(loaded):
    model = copy.deepcopy(loaded.model).requires_grad_(True)
    batch = pad_batch(EXAMPLES[:2], pad_id=loaded.pad_id)
    parameters = list(model.parameters())
    found = torch.autograd.grad(token_logprobs(model, batch).sum(), parameters, allow_unused=True)
    logits = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids(),
    ).logits
    values = torch.log_softmax(logits[:, :-1], dim=-1)
    picked = values.gather(-1, batch.input_ids[:, 1:, None])[..., 0]
    naive = picked[batch.response_mask[:, 1:]].sum()
    expected = torch.autograd.grad(naive, parameters, allow_unused=True)
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert sum(float(g.abs().sum()) for g in found if g is not None) > 0


def test_logits_are_full_again_afterwards_even_after_an_error(tiny):
    ids = torch.tensor([[5, 6, 7]])
    before = tiny.model(input_ids=ids).logits
    bad = pad_batch([ChatTokens([5, 10_000], 1)], pad_id=0)  # No such token.
    with pytest.raises(IndexError):
        token_logprobs(tiny.model, bad)
    token_logprobs(tiny.model, pad_batch(EXAMPLES, pad_id=tiny.pad_id))
    assert torch.equal(tiny.model(input_ids=ids).logits, before)


def test_examples_without_response_tokens_have_log_probability_0(tiny):
    examples = [ChatTokens([5, 6, 7], 3), EXAMPLES[0]]
    found = response_logprobs(tiny.model, pad_batch(examples, pad_id=tiny.pad_id))
    assert (found.total[0].item(), found.n_tokens[0].item()) == (0.0, 0.0)
    alone = response_logprobs(tiny.model, pad_batch(examples[:1], pad_id=tiny.pad_id))
    assert alone.total.tolist() == [0.0]


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_dataset_logprobs_come_in_order_whatever_the_batch_size(tiny, batch_size):
    found = dataset_logprobs(tiny.model, EXAMPLES, pad_id=tiny.pad_id, batch_size=batch_size)
    naive = [naive_token_logprobs(tiny.model, example).sum().item() for example in EXAMPLES]
    assert found == pytest.approx(naive, abs=2e-5)


def test_next_token_logprobs_equal_those_from_full_logits(loaded):
    prompts = [example.input_ids for example in EXAMPLES]
    found = next_token_logprobs(loaded.model, prompts, pad_id=loaded.pad_id, batch_size=3)
    for row, prompt in enumerate(prompts):
        ids = torch.tensor([prompt])
        with torch.no_grad():
            logits = loaded.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        torch.testing.assert_close(found[row], torch.log_softmax(logits[0, -1], dim=-1), **CLOSE)
    torch.testing.assert_close(found.exp().sum(dim=-1), torch.ones(len(prompts)))
