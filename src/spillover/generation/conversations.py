"""Turns conversations, each with settings of its own, into answers in as few batches as can be.

Greedy answers are `HFGenerator`'s, sampled ones `SharedPrefillGenerator`'s: there a sample's noise
depends on its seed, its words and its draw only, and on nothing that stands beside it in a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from spillover.generation.hf import HFGenerator
from spillover.generation.protocol import GenerationSettings, Generator
from spillover.generation.shared_prefill import SharedPrefillGenerator
from spillover.models.loading import LoadedModel
from spillover.models.prefix import can_share_prefix
from spillover.records import Completion, Prompt, Record


@dataclass(frozen=True, kw_only=True)
class Turn(Record):
    """One message of a conversation."""

    role: str
    "`system`, `user` or `assistant`."
    content: str


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What is said so far, and how it is to be answered."""

    turns: tuple[Turn, ...]
    "The last one is not the assistant's."
    settings: GenerationSettings
    draw: str = ""
    "Names a sample; conversations that are alike in all but this get answers of their own."


@dataclass(frozen=True, kw_only=True)
class ConversationAnswer:
    """An answer, and what the conversation before it took."""

    completion: Completion
    n_prompt_tokens: int


def answer_conversations(
    loaded: LoadedModel, conversations: Sequence[Conversation], *, name: str
) -> list[ConversationAnswer]:
    """Answer conversations with a loaded model; what is hooked or adapted on it takes effect.

    The settings' batch size is how many are decoded at once. Only conversations that are to be
    answered in the same way, but for the seed, share a batch. For models with recurrent layers the
    noise of a sample does depend on the batch.

    Args:
        loaded: The model.
        conversations: What to answer.
        name: Name of the model, for the completions.

    Returns:
        One answer a conversation, in order.

    Raises:
        TemplateError: If the model's chat template does not take the turns of one of them.
    """
    rendered = replace(loaded, chat=replace(loaded.chat, is_rendered=True))
    prompts = [_prompt(loaded, conversation) for conversation in conversations]
    found: dict[int, Completion] = {}
    for settings, places in _alike(conversations).items():
        asked = [prompts[place] for place in places]
        generator = _generator(rendered, name, settings)
        found |= zip(places, generator.generate(asked, settings=settings), strict=True)
    return [
        ConversationAnswer(
            completion=found[place],
            n_prompt_tokens=len(rendered.chat.prompt_ids(prompt.prompt)),
        )
        for place, prompt in enumerate(prompts)
    ]


def _prompt(loaded: LoadedModel, conversation: Conversation) -> Prompt:
    """Return the conversation as rendered text, under an id that its noise is drawn from."""
    text = loaded.chat.render_turns([turn.to_dict() for turn in conversation.turns])
    identity = f"{conversation.settings.seed}/{conversation.draw}/{text}"
    return Prompt(id=identity, prompt=text, concept="")


def _alike(conversations: Sequence[Conversation]) -> dict[GenerationSettings, list[int]]:
    """Group places by settings; the seed is in the id already."""
    groups: dict[GenerationSettings, list[int]] = {}
    for place, conversation in enumerate(conversations):
        groups.setdefault(replace(conversation.settings, seed=0), []).append(place)
    return groups


def _generator(loaded: LoadedModel, name: str, settings: GenerationSettings) -> Generator:
    if settings.temperature > 0 and can_share_prefix(loaded.model):
        return SharedPrefillGenerator(loaded, name)
    return HFGenerator(loaded, name)
