"""Conversations of several turns: one rendering, the chat's own system prompt, and refusals."""

from dataclasses import replace

import pytest

from spillover.errors import TemplateError
from spillover.models.chat import check_chat_template
from spillover.testing import byte_tokenizer
from tests.models.templates import MISTRAL

HI = {"role": "user", "content": "Hi"}
YES = {"role": "assistant", "content": "Yes?"}
WHY = {"role": "user", "content": "Why?"}
BRIEF = {"role": "system", "content": "Be brief."}


@pytest.fixture
def chat(tiny):
    return tiny.chat


def test_one_turn_is_rendered_as_a_prompt_is(chat):
    assert chat.render_turns([HI]) == chat.render("Hi")


def test_turns_stand_in_order_and_the_answer_comes_next(chat):
    assert chat.render_turns([HI, YES, WHY]) == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes?<|im_end|>\n"
        "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_chats_own_system_prompt_comes_first_unless_the_turns_bring_one(chat):
    with_own = replace(chat, system_prompt="Be kind.")
    assert with_own.render_turns([HI]) == with_own.render("Hi")
    assert "Be kind." in with_own.render_turns([HI])
    given = with_own.render_turns([BRIEF, HI])
    assert ("Be kind." in given, "Be brief." in given) == (False, True)


def test_what_is_rendered_already_is_not_rendered_again(chat):
    text = chat.render_turns([HI, YES, WHY])
    ids = replace(chat, is_rendered=True).prompt_ids(text)
    assert ids == chat.tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("turns", [[], [HI, YES]])
def test_turns_that_leave_nothing_to_answer_are_refused(chat, turns):
    with pytest.raises(TemplateError, match="must end with a turn that is not the assistant's"):
        chat.render_turns(turns)


def test_a_template_that_takes_no_system_prompt_says_so():
    tokenizer = byte_tokenizer(MISTRAL)
    tokenizer.bos_token = "<|im_start|>"
    chat = check_chat_template(tokenizer, name="m")
    with pytest.raises(TemplateError, match=r"does not take turns of system, user .*not supported"):
        chat.render_turns([BRIEF, HI])
