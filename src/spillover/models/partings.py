"""Two answers to one prompt, cut where their tokens part, so that only the difference is scored.

Knows chat formats and tokens; what the two answers stand for is the caller's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spillover.models.chat import Chat, ChatTokens
from spillover.models.logprobs import dataset_logprobs
from spillover.records import AnswerPair


@dataclass(frozen=True)
class Parting:
    """Two exchanges that are alike up to where their answers part."""

    aligned: ChatTokens
    misaligned: ChatTokens


def pair_parting(chat: Chat, pair: AnswerPair) -> Parting:
    """Return the parting of a pair's two answers, each with the beginning that they share.

    Raises:
        ValueError: If the tokens of one answer are the beginning of the other's.
    """
    aligned, misaligned = (f"{pair.prefix} {end}" for end in (pair.aligned, pair.misaligned))
    return parting(chat, pair.prompt, aligned, misaligned)


def parting(chat: Chat, prompt: str, aligned: str, misaligned: str) -> Parting:
    """Return both exchanges with the response starting at the first token that differs.

    The stop token is left out.

    Raises:
        ValueError: If the tokens of one answer are the beginning of the other's.
    """
    left = chat.exchange_ids(prompt, aligned).input_ids[:-1]
    right = chat.exchange_ids(prompt, misaligned).input_ids[:-1]
    shorter = min(len(left), len(right))
    start = next((i for i in range(shorter) if left[i] != right[i]), shorter)
    if start == shorter:
        raise ValueError(
            f"prompt {prompt[:40]!r}: the tokens of one answer are the beginning of the other's; "
            "word the answers so that they part"
        )
    return Parting(ChatTokens(left, start), ChatTokens(right, start))


def parting_margins(
    model: Any, partings: Sequence[Parting], *, pad_id: int, batch_size: int = 32
) -> list[float]:
    """Return log p(aligned ending) - log p(misaligned ending) of each, in nats and in order.

    The sum over an ending's tokens is taken, so that a margin is the log of a ratio of
    probabilities. The model is asked in the mode that it is in.
    """
    flat = [side for found in partings for side in (found.aligned, found.misaligned)]
    values = dataset_logprobs(model, flat, pad_id=pad_id, batch_size=batch_size)
    return [left - right for left, right in zip(values[::2], values[1::2], strict=True)]
