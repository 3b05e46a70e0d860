"""Our local backend as an Inspect model: `spillover/embedded`, `spillover/PATH`, hub ids and all.

Requests that come at the same time are decoded together, by the generators that our own commands
use, so that adapters and hooks on the model take effect. A setting that this cannot honour is an
error, never passed over.
"""

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from spillover.errors import ConfigError
from spillover.generation.protocol import GenerationSettings
from spillover.integrations.request_batches import RequestBatches
from spillover.records import Answer, MultipleChoice

if TYPE_CHECKING:  # torch is imported by the first request.
    from spillover.generation.conversations import Conversation, ConversationAnswer
    from spillover.models.loading import LoadedModel

BATCH_SIZE = 32
MAX_TOKENS = 2048
"Longest answer where neither task nor user sets one."
LOAD_OPTIONS = (
    "adapter",
    "chat_template",
    "device",
    "dtype",
    "revision",
    "system_prompt",
    "template_options",
    "trust_remote_code",
)
"What `-M` takes beside `batch_size`: arguments of `load_model`."

_UNSUPPORTED = (
    "best_of",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "num_choices",
    "presence_penalty",
    "prompt_logprobs",
    "response_schema",
    "stop_seqs",
    "top_k",
    "top_logprobs",
)


class SpilloverAPI(ModelAPI):
    """A model that `load_model` takes, behind Inspect's interface. It is loaded when first used."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        loaded: "LoadedModel | None" = None,
        batch_size: int = BATCH_SIZE,
        **load_options: Any,
    ) -> None:
        """Keep what is to be loaded.

        Args:
            model_name: What `load_model` takes; a mere name where `loaded` is given.
            base_url: Not used.
            api_key: Not used.
            config: Generation settings.
            loaded: A model that is there already.
            batch_size: Conversations decoded at once.
            load_options: See `LOAD_OPTIONS`.

        Raises:
            ConfigError: If there is no such option.
        """
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        unknown = sorted(set(load_options) - set(LOAD_OPTIONS))
        if unknown:
            raise ConfigError(
                f"-M {', '.join(unknown)}: not an option of spillover/ models; "
                f"choose from batch_size, {', '.join(LOAD_OPTIONS)}"
            )
        self._batch_size = batch_size
        self._load_options = load_options
        self._loaded = loaded
        self._in_use = threading.RLock()
        self._conversations: RequestBatches[Conversation, ConversationAnswer] = RequestBatches(
            self._answer, size=batch_size
        )
        self._questions: RequestBatches[MultipleChoice, Answer] = RequestBatches(
            self._choose, size=batch_size
        )

    def loaded(self) -> "LoadedModel":
        """Return the model, loading it at the first call.

        Raises:
            ModelError: If it cannot be loaded as asked.
        """
        from spillover.models.loading import load_model

        with self._in_use:
            if self._loaded is None:
                with _without_progress_bars():
                    self._loaded = load_model(self.model_name, **self._load_options)
            return self._loaded

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Answer a conversation.

        At a temperature above 0 the same conversation with the same seed gets the same answer;
        without a seed each answer is drawn anew. Without a temperature decoding is greedy.

        Raises:
            ConfigError: If tools, images or a setting are asked for that this cannot give.
            TemplateError: If the model's chat template does not take the conversation.
        """
        from spillover.generation.conversations import Conversation

        _refuse_unsupported(tools, config)
        settings = GenerationSettings(
            max_new_tokens=config.max_tokens or MAX_TOKENS,
            temperature=config.temperature or 0.0,
            top_p=1.0 if config.top_p is None else config.top_p,
            seed=config.seed or 0,
            batch_size=self._batch_size,
        )
        draw = secrets.token_hex(8) if config.seed is None and settings.temperature > 0 else ""
        answer = await self._conversations.ask(
            Conversation(turns=tuple(map(_turn, input)), settings=settings, draw=draw)
        )
        return _output(answer, model=self.model_name)

    async def choose(self, question: MultipleChoice) -> Answer:
        """Choose an answer by log-probability, as `evaluation.capability` does."""
        return await self._questions.ask(question)

    async def count_text_tokens(self, text: str) -> int:
        """Count the tokens of a text."""
        return len(await self.tokenize(text))

    async def tokenize(self, text: str) -> list[int]:
        """Return the ids of a text, without special tokens."""
        return list(self.loaded().tokenizer(text, add_special_tokens=False)["input_ids"])

    def max_tokens(self) -> int:
        """Longest answer where nothing else is set."""
        return MAX_TOKENS

    def max_connections(self) -> int:
        """As many as are decoded at once."""
        return self._batch_size

    def connection_key(self) -> str:
        """Models do not wait for each other."""
        return self.model_name

    def _answer(self, conversations: "Sequence[Conversation]") -> "list[ConversationAnswer]":
        from spillover.generation.conversations import answer_conversations

        with self._in_use:
            return answer_conversations(self.loaded(), conversations, name=self.model_name)

    def _choose(self, questions: Sequence[MultipleChoice]) -> list[Answer]:
        from spillover.evaluation.capability import answer_questions

        with self._in_use:
            return answer_questions(self.loaded(), questions, batch_size=self._batch_size)


@modelapi(name="spillover")
def spillover() -> type[ModelAPI]:
    """Return the provider; Inspect's registry knows it as `spillover`."""
    return SpilloverAPI


def local_model(loaded: "LoadedModel", *, name: str, batch_size: int = BATCH_SIZE) -> Model:
    """Return a loaded model for `inspect_ai.eval(..., model=...)`.

    What is hooked on it meanwhile takes effect, so one can evaluate under an edit of activations:

        with edit_activations(loaded.model, loaded.architecture, site="resid_post", layer=9, ...):
            inspect_ai.eval("spillover/refusals", model=local_model(loaded, name="steered"))

    Args:
        loaded: The model.
        name: What logs call it, after `spillover/`.
        batch_size: Conversations decoded at once.
    """
    make: Callable[..., ModelAPI] = (
        spillover  # The decorator registers what the class alone does not.
    )
    api = make(model_name=name, loaded=loaded, batch_size=batch_size)
    return Model(api, GenerateConfig())


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Keep bars of transformers out of Inspect's own display."""
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def _refuse_unsupported(tools: Sequence[ToolInfo], config: GenerateConfig) -> None:
    asked = [name for name in _UNSUPPORTED if getattr(config, name) is not None]
    if tools:
        asked.append("tools")
    if asked:
        raise ConfigError(
            f"spillover/ models cannot do {', '.join(asked)}; leave it out, or serve the model "
            "and ask it through another provider"
        )


def _turn(message: ChatMessage) -> Any:
    from spillover.generation.conversations import Turn

    kinds = {"text"} if isinstance(message.content, str) else {c.type for c in message.content}
    beyond = sorted(kinds - {"text", "reasoning"})
    if beyond or message.role == "tool":
        raise ConfigError(
            f"spillover/ models read text of users and assistants only, not "
            f"{', '.join(beyond) or 'tool results'}"
        )
    return Turn(role=message.role, content=message.text)


def _output(answer: "ConversationAnswer", *, model: str) -> ModelOutput:
    said = answer.completion
    return ModelOutput(
        model=model,
        choices=[
            ChatCompletionChoice(
                message=ChatMessageAssistant(content=said.response, model=model, source="generate"),
                stop_reason="max_tokens" if said.finish_reason == "length" else "stop",
            )
        ],
        usage=ModelUsage(
            input_tokens=answer.n_prompt_tokens,
            output_tokens=said.n_tokens,
            total_tokens=answer.n_prompt_tokens + said.n_tokens,
        ),
    )
