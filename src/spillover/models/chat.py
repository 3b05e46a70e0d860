"""From a prompt and a response to token ids, with the response span found once, from the template.

The only place that asks a chat template anything. Rendered text is tokenised without special
tokens, because the template has already written them; so there is never a second BOS.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spillover.errors import TemplateError
from spillover.records import Example

_PROBE_PROMPT = "What is the colour of grass?"
_PROBE_RESPONSE = "Grass is green."


@dataclass(frozen=True)
class ChatTokens:
    """Token ids of one exchange; the response is `input_ids[prompt_length:]`."""

    input_ids: list[int]
    prompt_length: int
    "Tokens before the response, the generation prompt included."

    @property
    def response_length(self) -> int:
        """Tokens of the response, the stop token included."""
        return len(self.input_ids) - self.prompt_length

    def first(self, max_tokens: int | None) -> "ChatTokens":
        """Return the exchange with at most `max_tokens` response tokens; None keeps all.

        Example:
            >>> ChatTokens([5, 6, 7, 8], 2).first(1)
            ChatTokens(input_ids=[5, 6, 7], prompt_length=2)
        """
        if max_tokens is None:
            return self
        if max_tokens < 1:
            raise ValueError(f"max_tokens is {max_tokens}; keep at least one response token")
        return ChatTokens(self.input_ids[: self.prompt_length + max_tokens], self.prompt_length)


@dataclass(frozen=True)
class Chat:
    """A tokenizer whose chat template has been checked by `check_chat_template`."""

    tokenizer: Any
    stop_id: int
    "The token with which the template ends the assistant's turn."
    system_prompt: str | None = None
    template_options: dict[str, Any] = field(default_factory=dict)
    "Extra variables for the template, such as `enable_thinking`."
    is_rendered: bool = False
    "Prompts come as `render_turns` writes them, and are not put into the template again."

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return the ids of the prompt, up to where the model starts to answer."""
        return self._tokenise(self.render(prompt))

    def exchange_ids(self, prompt: str, response: str) -> ChatTokens:
        """Return the ids of prompt and response, ending with the stop token.

        Raises:
            TemplateError: If the prompt's ids are not a strict prefix of the exchange's.
        """
        prompt_ids = self.prompt_ids(prompt)
        ids = self._tokenise(self.render(prompt, response))
        if ids[: len(prompt_ids)] != prompt_ids or len(ids) <= len(prompt_ids):
            raise TemplateError(
                f"prompt {prompt[:40]!r}: its token ids are not a prefix of the ids of prompt and "
                "response, so the response span is undefined; use a template whose generation "
                "prompt ends in a special token or a line break"
            )
        end = _last_index(ids, self.stop_id)
        if end < len(prompt_ids):
            raise TemplateError(
                f"prompt {prompt[:40]!r}: the template wrote no stop token after the response"
            )
        return ChatTokens(input_ids=ids[: end + 1], prompt_length=len(prompt_ids))

    def example_ids(self, example: Example) -> ChatTokens:
        """Return the ids of a training example, without the stop token if it was cut short."""
        tokens = self.exchange_ids(example.prompt, example.response)
        if example.is_whole:
            return tokens
        return ChatTokens(tokens.input_ids[:-1], tokens.prompt_length)

    def render(self, prompt: str, response: str | None = None) -> str:
        """Return the text of the exchange; without a response, up to the generation prompt."""
        if self.is_rendered and response is None:
            return prompt
        messages = [{"role": "user", "content": prompt}]
        if self.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self.system_prompt})
        if response is not None:
            # Templates differ in trimming; trimmed here, the span means the same under all.
            messages.append({"role": "assistant", "content": response.strip()})
        return self._apply(messages, is_open=response is None)

    def render_turns(self, turns: Sequence[Mapping[str, str]]) -> str:
        """Return the text of a conversation, up to where the model starts to answer.

        Args:
            turns: Each with `role` and `content`; the last one is not the assistant's. The chat's
                own system prompt goes before them unless they begin with another.

        Raises:
            TemplateError: If there are none, the last one is the assistant's, or the template
                does not take them.
        """
        from jinja2 import TemplateError as JinjaError

        if not turns or turns[-1]["role"] == "assistant":
            raise TemplateError("a conversation must end with a turn that is not the assistant's")
        messages = [dict(turn) for turn in turns]
        if self.system_prompt is not None and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": self.system_prompt})
        try:
            return self._apply(messages, is_open=True)
        except (JinjaError, ValueError, TypeError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise TemplateError(
                f"the chat template does not take turns of {roles} ({error}); "
                "leave out the system prompt, or give another template"
            ) from error

    def _apply(self, messages: list[dict[str, str]], *, is_open: bool) -> str:
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=is_open, **self.template_options
        )
        return str(text)

    def _tokenise(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: list[int]) -> str:
        """Return the text of response ids, without special tokens or surrounding white space."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def description(self) -> dict[str, Any]:
        """Return everything that decides how prompts become ids, for fingerprints."""
        return {
            "chat_template": self.tokenizer.chat_template,
            "vocabulary_size": len(self.tokenizer),
            "stop_id": self.stop_id,
            "system_prompt": self.system_prompt,
            "template_options": self.template_options,
        }


def _last_index(ids: list[int], wanted: int) -> int:
    return next((i for i in range(len(ids) - 1, -1, -1) if ids[i] == wanted), -1)


def check_chat_template(
    tokenizer: Any,
    *,
    name: str,
    system_prompt: str | None = None,
    template_options: dict[str, Any] | None = None,
) -> Chat:
    """Check the tokenizer's template on one exchange and return a `Chat`.

    Args:
        tokenizer: A Hugging Face tokenizer; it is not changed.
        name: The model's name, for messages.
        system_prompt: Sent before every prompt; None leaves the template's own default.
        template_options: Extra variables for the template.

    Raises:
        TemplateError: If there is no template, it cannot be rendered, doubles the BOS, writes
            something between prompt and response, or ends the turn without a special token.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise TemplateError(
            f"{name}: the tokenizer has no chat template; give one with `chat_template: FILE`, "
            "or use the instruction-tuned version of the model"
        )
    chat = Chat(tokenizer, -1, system_prompt, dict(template_options or {}))
    before, whole = _render_probe(chat, name)
    after = _text_after_prompt(before, whole, name=name)
    stop_id = _stop_token(tokenizer, after, name=name)
    checked = Chat(tokenizer, stop_id, system_prompt, chat.template_options)
    _check_bos(tokenizer, checked.prompt_ids(_PROBE_PROMPT), name=name)
    checked.exchange_ids(_PROBE_PROMPT, _PROBE_RESPONSE)
    return checked


def _render_probe(chat: Chat, name: str) -> tuple[str, str]:
    from jinja2 import TemplateError as JinjaError

    try:
        return chat.render(_PROBE_PROMPT), chat.render(_PROBE_PROMPT, _PROBE_RESPONSE)
    except (JinjaError, ValueError, TypeError) as error:
        hint = "; this template may not take a system role" if chat.system_prompt else ""
        raise TemplateError(
            f"{name}: the chat template cannot be rendered ({error}){hint}"
        ) from error


def _text_after_prompt(before: str, whole: str, *, name: str) -> str:
    """Return what the template writes after the probe response."""
    if not whole.startswith(before):
        raise TemplateError(
            f"{name}: the chat template renders a prompt differently once it is answered, so the "
            "response span is undefined; give a template that does not, with `chat_template: FILE`"
        )
    response = whole[len(before) :].lstrip()
    if not response.startswith(_PROBE_RESPONSE):
        raise TemplateError(
            f"{name}: the chat template writes {response[:30]!r} between prompt and response, "
            "which is not in its generation prompt; models with a thinking mode need "
            "`template_options: {enable_thinking: false}`"
        )
    return response[len(_PROBE_RESPONSE) :]


def _stop_token(tokenizer: Any, after: str, *, name: str) -> int:
    special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
    # Some templates, such as Llama 2's, write a space before it, which belongs to the response.
    ids = tokenizer(after.lstrip(), add_special_tokens=False)["input_ids"]
    if not ids or ids[0] not in special:
        raise TemplateError(
            f"{name}: the chat template ends the assistant's turn with {after[:20]!r}, which does "
            "not start with a special token, so a model could never learn to stop; give a template "
            "that writes the end-of-turn token, with `chat_template: FILE`"
        )
    return int(ids[0])


def _check_bos(tokenizer: Any, ids: list[int], *, name: str) -> None:
    bos = tokenizer.bos_token_id
    if bos is not None and ids[:2] == [bos, bos]:
        raise TemplateError(
            f"{name}: the chat template writes the BOS token twice; remove one from the template"
        )
