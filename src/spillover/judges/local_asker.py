"""Answers a judge's questions with a model that is loaded here, greedily.

The model is loaded at the first question, not before.
"""

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from spillover.generation.hf import HFGenerator
from spillover.generation.protocol import GenerationSettings
from spillover.judges.askers import Failure, OnAnswer
from spillover.judges.local_numbers import local_number_probabilities
from spillover.judges.replies import Answer
from spillover.models.loading import LoadedModel, load_model
from spillover.records import Completion, Prompt

_BATCHES_AT_ONCE = 8


class LocalAsker:
    """Asks a model from a hub id, a folder or a file."""

    def __init__(
        self,
        source: str | Path,
        *,
        adapter: str | None = None,
        dtype: str = "bfloat16",
        device: str = "auto",
        revision: str | None = None,
        batch_size: int = 8,
    ) -> None:
        """Keep what to load; the arguments are those of `load_model`.

        Args:
            source: A model, as `load_model` takes it.
            adapter: A PEFT adapter folder to merge.
            dtype: float32, bfloat16 or float16.
            device: auto, cpu, cuda, cuda:N or mps.
            revision: Of a hub id.
            batch_size: Questions answered at once.
        """
        self._source = source
        self._options: dict[str, Any] = {
            "adapter": adapter,
            "dtype": dtype,
            "device": device,
            "revision": revision,
        }
        self._batch_size = batch_size

    @cached_property
    def loaded(self) -> LoadedModel:
        """The model."""
        return load_model(self._source, **self._options)

    def identity(self) -> str:
        """Fingerprint of weights, dtype and chat format."""
        return self.loaded.fingerprint

    def ask(
        self,
        questions: Sequence[str],
        *,
        max_tokens: int,
        with_numbers: bool,
        on_answer: OnAnswer,
    ) -> list[Answer | Failure]:
        """Return an answer for each question, some batches at a time."""
        found: list[Answer | Failure] = []
        step = self._batch_size * _BATCHES_AT_ONCE
        for start in range(0, len(questions), step):
            part = questions[start : start + step]
            for outcome in self._ask_some(part, max_tokens, with_numbers=with_numbers):
                if isinstance(outcome, Answer):
                    on_answer(len(found), outcome)
                found.append(outcome)
        return found

    def _ask_some(
        self, questions: Sequence[str], max_tokens: int, *, with_numbers: bool
    ) -> list[Answer | Failure]:
        start = time.monotonic()
        ids = [self.loaded.chat.prompt_ids(question) for question in questions]
        faults = [self._fault(tokens, max_tokens) for tokens in ids]
        good = [index for index, fault in enumerate(faults) if not fault]
        prompts = [Prompt(id=str(i), prompt=questions[i], concept="") for i in good]
        settings = GenerationSettings(max_new_tokens=max_tokens, batch_size=self._batch_size)
        completions = HFGenerator(self.loaded, "judge").generate(prompts, settings=settings)
        numbers: list[dict[int, float] | None] = [None] * len(good)
        if with_numbers:
            asked = [ids[i] for i in good]
            numbers = [*local_number_probabilities(self.loaded, asked, batch_size=self._batch_size)]
        seconds = (time.monotonic() - start) / max(1, len(good))
        answers = {
            i: _answer(completion, chances, n_prompt_tokens=len(ids[i]), seconds=seconds)
            for i, completion, chances in zip(good, completions, numbers, strict=True)
        }
        return [answers.get(i) or Failure(faults[i]) for i in range(len(questions))]

    def _fault(self, ids: list[int], max_tokens: int) -> str:
        """Return why a question cannot be put to the model, or an empty string."""
        config = self.loaded.model.config.get_text_config()
        limit = getattr(config, "max_position_embeddings", None)
        if limit is not None and len(ids) + max_tokens > limit:
            return (
                f"the question has {len(ids)} tokens, and the judging model reads {limit} at most "
                f"with its answer of {max_tokens}; lower max_chars"
            )
        n_more = self._n_special(ids) - self._n_special(self.loaded.chat.prompt_ids("x"))
        return f"the material holds {n_more} special tokens of the judging model" if n_more else ""

    def _n_special(self, ids: list[int]) -> int:
        return sum(token in self._special_ids for token in ids)

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        tokenizer = self.loaded.tokenizer
        added = tokenizer.added_tokens_decoder.items()
        return frozenset({*tokenizer.all_special_ids, *(i for i, t in added if t.special)})


def _answer(
    completion: Completion,
    numbers: dict[int, float] | None,
    *,
    n_prompt_tokens: int,
    seconds: float,
) -> Answer:
    return Answer(
        text=completion.response,
        is_cut=completion.finish_reason == "length",
        numbers=numbers,
        n_prompt_tokens=n_prompt_tokens,
        n_tokens=completion.n_tokens,
        seconds=seconds,
    )
