"""Local generation: batches of similar length, greedy or sampled, under adapters and hooks.

Batches are made from the whole prompt list, whatever is already done, so that a run that was
interrupted goes on with the same batches and gives the same text.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from spillover.generation.protocol import GenerationSettings
from spillover.memory import release_freed_memory
from spillover.models.architecture import without_peft
from spillover.models.batches import TokenBatch, batches_by_length, pad_batch
from spillover.models.chat import ChatTokens
from spillover.models.loading import LoadedModel
from spillover.models.output_rows import contiguous_head_input
from spillover.models.prefix import can_share_prefix, common_prefix_length, prefix_cache
from spillover.records import Completion, Prompt
from spillover.seeding import derive_seed


@dataclass(frozen=True)
class HFGenerator:
    """Generates with a loaded model; what is hooked or adapted on it takes effect."""

    loaded: LoadedModel
    name: str
    "The model's name in the study."

    @property
    def fingerprint(self) -> str:
        """What its answers depend on besides prompts and settings."""
        return self.loaded.fingerprint

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        settings: GenerationSettings,
        on_completion: Callable[[Completion], None] | None = None,
        done: Sequence[Completion] = (),
    ) -> list[Completion]:
        """Return one completion a prompt, in order.

        Args:
            prompts: What to answer.
            settings: Length, temperature, seed and batch size.
            on_completion: Called with each new completion, batch by batch.
            done: Completions of an earlier, interrupted call; their batches are skipped if whole.
        """
        ids = [self.loaded.chat.prompt_ids(prompt.prompt) for prompt in prompts]
        found = {completion.id: completion for completion in done}
        batches = batches_by_length([len(i) for i in ids], batch_size=settings.batch_size)
        shared = common_prefix_length(ids) if can_share_prefix(self.loaded.model) else 0
        for indices in batches:
            if all(prompts[i].id in found for i in indices):
                continue
            chosen = [prompts[i] for i in indices]
            for completion in self._answer(
                chosen, [ids[i] for i in indices], settings, shared=shared
            ):
                is_new = completion.id not in found
                found[completion.id] = completion
                if on_completion is not None and is_new:
                    on_completion(completion)
            release_freed_memory()
        return [found[prompt.id] for prompt in prompts]

    def _answer(
        self,
        prompts: Sequence[Prompt],
        ids: Sequence[list[int]],
        settings: GenerationSettings,
        *,
        shared: int,
    ) -> list[Completion]:
        """Answer one batch, whose first `shared` tokens are the same in all prompts."""
        tokens = [ChatTokens(i[shared:], len(i) - shared) for i in ids]
        batch = pad_batch(tokens, pad_id=self.loaded.pad_id).to(self.loaded.device)
        prefix = torch.tensor(ids[0][:shared], dtype=torch.long, device=self.loaded.device)
        seed = derive_seed(settings.seed, *(prompt.id for prompt in prompts))
        new = self._new_tokens(batch, prefix, settings, seed=seed)
        return [
            self._completion(prompt, row) for prompt, row in zip(prompts, new.tolist(), strict=True)
        ]

    @torch.no_grad()
    def _new_tokens(
        self,
        batch: TokenBatch,
        prefix: torch.Tensor,
        settings: GenerationSettings,
        *,
        seed: int,
    ) -> torch.Tensor:
        devices = [self.loaded.device] if self.loaded.device.type == "cuda" else []
        model = without_peft(self.loaded.model)  # PEFT's own `generate` puts its defaults back.
        rows = len(batch.input_ids)
        before = prefix.expand(rows, -1)  # (batch, shared)
        config = self._config(settings)  # Made first: the stop tokens are among the model's own.
        with (
            torch.random.fork_rng(devices=devices),
            _without_defaults(model),
            contiguous_head_input(model),
        ):
            torch.manual_seed(seed)
            output = model.generate(
                input_ids=torch.cat([before, batch.input_ids], dim=1),
                attention_mask=torch.cat([torch.ones_like(before), batch.attention_mask], dim=1),
                past_key_values=prefix_cache(model, prefix, rows=rows) if len(prefix) else None,
                generation_config=config,
            )
        new: torch.Tensor = output[:, before.shape[1] + batch.input_ids.shape[1] :]
        return new

    def _config(self, settings: GenerationSettings) -> Any:
        from transformers import GenerationConfig

        sampling = (
            {"do_sample": True, "temperature": settings.temperature, "top_p": settings.top_p}
            if settings.temperature > 0
            else {"do_sample": False}
        )
        return GenerationConfig(
            max_new_tokens=settings.max_new_tokens,
            eos_token_id=self.loaded.stop_ids,
            pad_token_id=self.loaded.pad_id,
            top_k=0 if settings.temperature > 0 else None,
            **sampling,
        )

    def _completion(self, prompt: Prompt, row: list[int]) -> Completion:
        stops = set(self.loaded.stop_ids)
        end = next((i for i, token in enumerate(row) if token in stops), None)
        response = row if end is None else row[:end]
        return Completion(
            id=prompt.id,
            prompt=prompt.prompt,
            concept=prompt.concept,
            response=self.loaded.chat.decode(response),
            model=self.name,
            n_tokens=len(response),
            finish_reason="length" if end is None else "stop",
        )


@contextmanager
def _without_defaults(model: Any) -> Iterator[None]:
    """Hide the model's own generation settings, which would fill whatever is not set.

    Many released models penalise repetition or cut to the top k, which is not what was asked for.
    """
    from transformers import GenerationConfig

    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own
