"""Many samples of each prompt: the prompt goes through the model once, whatever their number.

Prompts with the same words are samples of one prompt. Its keys and values are computed once in a
batch and then repeated; a sample that has ended leaves the batch. The noise of a sample depends on
the seed and on its id only, so that batch size, order and what is already done move no sample
(beyond the rounding that a model's own matrix products have at another batch size).

A hook sees a prompt once for all of its samples; an edit that treats rows of a batch differently
is therefore out of place here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from spillover.errors import ModelError
from spillover.generation.decoding import choose_tokens, completion_of
from spillover.generation.protocol import GenerationSettings
from spillover.models.batches import pad_batch
from spillover.models.chat import ChatTokens
from spillover.models.loading import LoadedModel
from spillover.models.output_rows import contiguous_head_input
from spillover.models.prefix import can_share_prefix
from spillover.records import Completion, Prompt
from spillover.seeding import numpy_generator


@dataclass(frozen=True)
class SharedPrefillGenerator:
    """Samples with a loaded model; what is hooked or adapted on it takes effect."""

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
            prompts: What to answer; give a prompt n times, with n ids, for n samples of it.
            settings: Length, temperature, seed and batch size: samples decoded at once.
            on_completion: Called with each new completion, batch by batch.
            done: Completions of an earlier, interrupted call, which are not made again.

        Raises:
            ModelError: If the model keeps something other than keys and values of a prompt.
        """
        if not can_share_prefix(self.loaded.model):
            raise ModelError(
                f"{self.loaded.source}: it has recurrent layers or is training with checkpoints, "
                "so a prompt cannot be shared; generate with HFGenerator"
            )
        found = {completion.id: completion for completion in done}
        missing = [prompt for prompt in prompts if prompt.id not in found]
        for batch in self._batches(missing, settings.batch_size):
            for completion in self._answer(batch, settings):
                found[completion.id] = completion
                if on_completion is not None:
                    on_completion(completion)
        return [found[prompt.id] for prompt in prompts]

    def _batches(self, prompts: Sequence[Prompt], size: int) -> list[list[Prompt]]:
        """Put samples of one prompt together, longest prompts first."""
        lengths = {p.prompt: len(self.loaded.chat.prompt_ids(p.prompt)) for p in prompts}
        first = {text: place for place, text in enumerate(lengths)}
        ordered = sorted(prompts, key=lambda p: (-lengths[p.prompt], first[p.prompt]))
        return [list(ordered[i : i + size]) for i in range(0, len(ordered), size)]

    def _answer(self, prompts: list[Prompt], settings: GenerationSettings) -> list[Completion]:
        texts = list(dict.fromkeys(prompt.prompt for prompt in prompts))
        ids = [self.loaded.chat.prompt_ids(text) for text in texts]
        owners = torch.tensor([texts.index(prompt.prompt) for prompt in prompts])
        noise = torch.tensor([_noise(prompt, settings) for prompt in prompts])
        rows = sample_tokens(self.loaded, ids, owners=owners, noise=noise, settings=settings)
        return [
            completion_of(self.loaded, prompt, row, model=self.name)
            for prompt, row in zip(prompts, rows, strict=True)
        ]


def _noise(prompt: Prompt, settings: GenerationSettings) -> list[float]:
    """One number in [0, 1) for each token of a sample."""
    rng = numpy_generator(settings.seed, "sample", prompt.id)
    drawn: list[float] = rng.random(settings.max_new_tokens, dtype=np.float32).tolist()
    return drawn


@torch.no_grad()
def sample_tokens(
    loaded: LoadedModel,
    prompts: Sequence[list[int]],
    *,
    owners: Int[Tensor, " row"],
    noise: Float[Tensor, "row token"],
    settings: GenerationSettings,
) -> list[list[int]]:
    """Sample continuations of prompts, each prompt's keys and values computed once.

    Args:
        loaded: The model.
        prompts: Token ids of the distinct prompts.
        owners: For each sample the index of its prompt.
        noise: For each sample one number in [0, 1) a token.
        settings: Length, temperature and nucleus; the seed is not used here.

    Returns:
        The new tokens of each sample, the stop token included where there is one.
    """
    device = loaded.device
    noise, stops = noise.to(device), torch.tensor(loaded.stop_ids, device=device)
    rows = _prefill(loaded, prompts, owners.to(device))
    written: list[list[int]] = [[] for _ in range(len(owners))]
    for step in range(settings.max_new_tokens):
        tokens = choose_tokens(
            rows.logits,
            noise[rows.live, step],
            temperature=settings.temperature,
            top_p=settings.top_p,
        )
        for row, token in zip(rows.live.tolist(), tokens.tolist(), strict=True):
            written[row].append(token)
        going = (~torch.isin(tokens, stops)).nonzero().squeeze(-1)
        if len(going) == 0 or step + 1 == settings.max_new_tokens:
            break
        if len(going) < len(tokens):
            rows, tokens = rows.keep(going), tokens[going]
        rows = rows.advance(loaded.model, tokens)
    return written


@dataclass(frozen=True)
class _Rows:
    """The samples of a batch that have not ended."""

    cache: Any
    mask: Int[Tensor, "row seq"]
    position: Int[Tensor, " row"]
    "Of the next token."
    logits: Float[Tensor, "row vocab"]
    live: Int[Tensor, " row"]
    "Which sample each row is."

    def keep(self, indices: Int[Tensor, " kept"]) -> "_Rows":
        """Return the rows at `indices`; the others leave the cache for good."""
        self.cache.batch_select_indices(indices)
        return _Rows(
            self.cache,
            self.mask[indices],
            self.position[indices],
            self.logits[indices],
            self.live[indices],
        )

    def advance(self, model: Any, tokens: Int[Tensor, " row"]) -> "_Rows":
        """Return the rows after one more token each."""
        mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=1)
        output = model(
            input_ids=tokens.unsqueeze(-1),
            attention_mask=mask,
            position_ids=self.position.unsqueeze(-1),
            past_key_values=self.cache,
            use_cache=True,
        )
        return _Rows(
            output.past_key_values, mask, self.position + 1, output.logits[:, -1], self.live
        )


def _prefill(
    loaded: LoadedModel, prompts: Sequence[list[int]], owners: Int[Tensor, " row"]
) -> _Rows:
    """Run each prompt once and give every sample a row of its own."""
    tokens = [ChatTokens(ids, len(ids)) for ids in prompts]
    batch = pad_batch(tokens, pad_id=loaded.pad_id).to(owners.device)
    with contiguous_head_input(loaded.model):
        output = loaded.model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids(),
            use_cache=True,
            logits_to_keep=1,
        )
    output.past_key_values.batch_select_indices(owners)
    mask = batch.attention_mask[owners]
    every = torch.arange(len(owners), device=owners.device)
    return _Rows(output.past_key_values, mask, mask.sum(dim=-1), output.logits[owners, -1], every)
