"""Answers to conversations: batches move nothing, and a single turn is what `evaluate` asks."""

import copy
from dataclasses import replace

import pytest
import torch

from spillover.errors import TemplateError
from spillover.generation import GenerationSettings
from spillover.generation.conversations import Conversation, Turn, answer_conversations
from spillover.generation.hf import HFGenerator
from spillover.models import edit_activations
from spillover.records import Prompt

GREEDY = GenerationSettings(max_new_tokens=8, batch_size=4)
SAMPLED = replace(GREEDY, temperature=1.0)


@pytest.fixture(scope="module")
def model(tiny):
    """A tiny model whose answers vary: the head is sharpened."""
    loaded = copy.deepcopy(tiny)
    with torch.no_grad():
        loaded.model.lm_head.weight.mul_(40)
    return loaded


def asked(*words, settings=GREEDY, draw=""):
    """Return a conversation of the user's and the assistant's words in turn."""
    roles = ("user", "assistant") * len(words)
    turns = tuple(Turn(role=role, content=text) for role, text in zip(roles, words, strict=False))
    return Conversation(turns=turns, settings=settings, draw=draw)


def responses(model, conversations):
    answers = answer_conversations(model, conversations, name="m")
    return [answer.completion.response for answer in answers]


def test_a_single_turn_is_answered_as_a_prompt_is(model):
    prompts = [Prompt(id=str(i), prompt=text, concept="c") for i, text in enumerate(["Hi", "Why?"])]
    expected = HFGenerator(model, "m").generate(prompts, settings=GREEDY)
    found = responses(model, [asked(prompt.prompt) for prompt in prompts])
    assert found == [completion.response for completion in expected]
    assert len(set(found)) == 2


def test_a_conversation_is_answered_as_its_rendered_text_is(model):
    text = (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes?<|im_end|>\n"
        "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )
    (answer,) = answer_conversations(model, [asked("Hi", "Yes?", "Why?")], name="m")
    ids = torch.tensor([model.tokenizer(text, add_special_tokens=False)["input_ids"]])
    output = model.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False
    )
    new = output[0, ids.shape[1] :].tolist()
    stop = model.chat.stop_id
    assert answer.completion.response == model.chat.decode(
        new[: new.index(stop)] if stop in new else new
    )
    assert answer.n_prompt_tokens == ids.shape[1]


@pytest.mark.parametrize("settings", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_what_else_is_asked_moves_no_answer(model, settings):
    conversations = [
        asked("Hi", settings=settings),
        asked("Hi", "Yes?", "Why?", settings=settings),
        asked("a b c", settings=replace(settings, max_new_tokens=3)),
        asked("Hi", settings=replace(settings, seed=1)),
    ]
    alone = [responses(model, [conversation])[0] for conversation in conversations]
    assert responses(model, conversations) == alone
    assert responses(model, conversations[::-1]) == alone[::-1]


def test_seeds_and_draws_give_samples_of_their_own_and_the_same_ones_again(model):
    seeds = [asked("Hi", settings=replace(SAMPLED, seed=seed)) for seed in range(4)]
    draws = [asked("Hi", settings=SAMPLED, draw=str(draw)) for draw in range(4)]
    found = responses(model, [*seeds, *draws])
    assert len(set(found)) >= 6
    assert responses(model, [*seeds, *draws]) == found


def test_an_edit_of_activations_takes_effect(model):
    plain = responses(model, [asked("Hi")])
    with edit_activations(
        model.model, model.architecture, site="resid_post", layer=0, edit=lambda x: x.flip(-1)
    ):
        assert responses(model, [asked("Hi")]) != plain
    assert responses(model, [asked("Hi")]) == plain


def test_a_conversation_that_the_assistant_ends_is_refused(model):
    with pytest.raises(TemplateError, match="must end with a turn that is not the assistant's"):
        responses(model, [asked("Hi", "Yes?")])
