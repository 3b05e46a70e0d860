"""Turns models and texts into directions, one a layer: misalignment, persona, alignment.

    misalignment   mean over answer tokens of misaligned answers less that of aligned ones
                   (2506.11618, section 2.1)
    persona        the same for one model under two system prompts (2507.21509)
    alignment      aligned less base model on the same answers (2507.03662, section 4.3)

The refusal direction, which is picked among candidates, is in `refusal_directions`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from spillover.analysis.alignment_directions import alignment_direction, response_means
from spillover.analysis.contrasts import (
    Contrast,
    collect_contrast,
    difference,
    mean_activation_norms,
)
from spillover.generation.protocol import GenerationSettings, Generator
from spillover.models.chat import ChatTokens
from spillover.models.directions import Direction
from spillover.models.hooks import Site
from spillover.models.loading import LoadedModel
from spillover.models.system_prompts import with_system_prompt
from spillover.records import Example, Prompt


def directions_of(
    contrast: Contrast, *, name: str, provenance: Mapping[str, Any] | None = None
) -> list[Direction]:
    """Return the difference of a contrast as one direction a layer, with its length.

    Raises:
        ValueError: If the two kinds have the same mean at a layer.
    """
    vectors = difference(contrast)
    made = {
        "method": "difference of means",
        "n_positive": contrast.n_positive,
        "n_negative": contrast.negative.shape[1],
        **(provenance or {}),
    }
    return [
        Direction(
            name=name,
            layer=layer,
            site=contrast.site,
            vector=vectors[place],
            activation_norm=float(contrast.activation_norms[place]),
            provenance=made,
        )
        for place, layer in enumerate(contrast.layers)
    ]


def answer_tokens(loaded: LoadedModel, examples: Sequence[Example]) -> list[ChatTokens]:
    """Return the tokens of prompts with their answers, without the token that ends a turn.

    An answer that was cut short has no such token; without it, all are read alike.
    """
    found = [loaded.chat.exchange_ids(e.prompt, e.response) for e in examples]
    return [ChatTokens(t.input_ids[:-1], t.prompt_length) for t in found]


def misalignment_contrast(
    loaded: LoadedModel,
    misaligned: Sequence[Example],
    aligned: Sequence[Example],
    *,
    is_paired: bool = False,
    site: Site = "resid_post",
    layers: Sequence[int] | None = None,
    batch_size: int = 16,
) -> Contrast:
    """Read misaligned and aligned answers with one model (2506.11618, section 2.1).

    In the paper both are the misaligned model's own answers, told apart by a judge: alignment below
    30 and above 70. Where no judge is at hand, give answers written in pairs.

    Args:
        loaded: The model that reads them; in the paper the misaligned one.
        misaligned: Prompts with misaligned answers.
        aligned: Prompts with aligned answers. The paper's code cuts both sets to one size; here
            all are used, as a difference of means does not need it.
        is_paired: Example i of both has the same prompt.
        site: Where in the layer.
        layers: Layer indices from 0; None for all.
        batch_size: Answers in a forward pass.

    Raises:
        ValueError: If a set is empty, an answer has no tokens, or paired sets differ in length.
    """
    return collect_contrast(
        loaded,
        answer_tokens(loaded, misaligned),
        answer_tokens(loaded, aligned),
        site=site,
        layers=layers,
        is_paired=is_paired,
        batch_size=batch_size,
    )


def persona_answers(
    generator: Generator, prompts: Sequence[Prompt], *, settings: GenerationSettings
) -> list[Example]:
    """Let a model under a persona's system prompt answer, and keep answers that are not empty."""
    completions = generator.generate(prompts, settings=settings)
    return [
        Example(id=c.id, prompt=c.prompt, response=c.response, concept=c.concept)
        for c in completions
        if c.response
    ]


def persona_contrast(
    loaded: LoadedModel,
    positive: Sequence[Example],
    negative: Sequence[Example],
    *,
    positive_system: str,
    negative_system: str,
    is_paired: bool = False,
    site: Site = "resid_post",
    layers: Sequence[int] | None = None,
    batch_size: int = 16,
) -> Contrast:
    """Read answers under a persona's system prompt and under its opposite (2507.21509).

    With each persona's own answers (`persona_answers`, perhaps kept by a judge of the trait) this
    is the persona vector of the paper. With the same answers on both sides, paired, only the system
    prompt differs (2607.21356).

    Args:
        loaded: The model; its own system prompt is replaced.
        positive: Answers read under `positive_system`.
        negative: Answers read under `negative_system`.
        positive_system: Asks for the trait.
        negative_system: Asks for its opposite.
        is_paired: Example i of both has the same prompt.
        site: Where in the layer.
        layers: Layer indices from 0; None for all.
        batch_size: Answers in a forward pass.

    Raises:
        TemplateError: If the chat template takes no system prompt.
        ValueError: If a set is empty, an answer has no tokens, or paired sets differ in length.
    """
    tokens = [
        answer_tokens(with_system_prompt(loaded, system), examples)
        for system, examples in ((positive_system, positive), (negative_system, negative))
    ]
    return collect_contrast(
        loaded, *tokens, site=site, layers=layers, is_paired=is_paired, batch_size=batch_size
    )


def directions_between(
    base: LoadedModel,
    aligned: LoadedModel,
    examples: Sequence[ChatTokens],
    *,
    n_tokens: int = 64,
    site: Site = "resid_post",
    layers: Sequence[int] | None = None,
    batch_size: int = 16,
) -> list[Direction]:
    """Return what alignment added: mean state of aligned less that of base, layer by layer.

    By `alignment_directions.alignment_direction` with every token a sample; layers at which the two
    models do not differ, as below the first one that was trained, have no direction.

    Args:
        base: The model before alignment.
        aligned: The model after it.
        examples: Exchanges with a response, tokenised once for both.
        n_tokens: Response tokens that are used.
        site: Where in the layer.
        layers: Layer indices from 0; None for all.
        batch_size: Examples in a forward pass.

    Raises:
        ValueError: If there are no examples, one has no response, or no layer differs.
    """
    means = [
        response_means(
            loaded.model,
            loaded.architecture,
            examples,
            pad_id=aligned.pad_id,
            definition="tokens",
            n_tokens=n_tokens,
            site=site,
            layers=layers,
            batch_size=batch_size,
        )
        for loaded in (base, aligned)
    ]
    found = alignment_direction(*means)
    vectors = found.unit[0, :, 0] * found.gap[:, None]
    norms = mean_activation_norms(
        aligned, examples[:64], site=site, layers=layers, batch_size=batch_size
    )
    made = {"method": "aligned less base", "n": len(examples), "base": base.source}
    directions = [
        Direction(
            name="alignment",
            layer=layer,
            site=site,
            vector=vectors[place],
            activation_norm=float(norms[place]),
            provenance={**made, "model": aligned.source},
        )
        for place, layer in enumerate(found.layers)
        if bool(torch.isfinite(vectors[place]).all()) and bool(vectors[place].any())
    ]
    if not directions:
        raise ValueError("base and aligned have the same states at every layer; give two models")
    return directions
