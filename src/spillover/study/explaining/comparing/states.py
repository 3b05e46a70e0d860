"""What is read off each compared model, kept on disk, and the contrasts that are made of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from spillover.analysis.contrasts import Contrast, collect_contrast, spared
from spillover.analysis.directions import answer_tokens
from spillover.analysis.states import collect_states, prompt_tokens
from spillover.models.chat import ChatTokens
from spillover.models.loading import LoadedModel
from spillover.study.explaining.comparing.texts import ComparedTexts
from spillover.study.explaining.reading_store import Taken

_PARTS = ("positive", "negative", "positive_weights", "negative_weights", "activation_norms")


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelStates:
    """The states of one model on the texts that all models read."""

    misalignment: Contrast
    "Misaligned less aligned answers, mean over answer tokens."
    refusal: Contrast
    "Harmful less harmless prompts, at the last token before the answer."
    asked: Float[Tensor, "layer prompt d_model"]
    "Harmful prompts that no direction is made of."
    first_token: Float[Tensor, "layer d_model"]
    "The state of the token that every text begins with."


def read_states(
    loaded: LoadedModel, texts: ComparedTexts, *, max_tokens: int, batch_size: int
) -> Taken:
    """Read one model at every layer, after it (`resid_post`).

    Args:
        loaded: The model.
        texts: What it reads.
        max_tokens: Answer tokens that are read.
        batch_size: Texts in a forward pass.
    """
    answers = [
        [row.first(max_tokens) for row in answer_tokens(loaded, examples)]
        for examples in (texts.misaligned, texts.aligned)
    ]
    prompts = [
        prompt_tokens(loaded.chat, [p.prompt for p in group])
        for group in (texts.harmful, texts.harmless, texts.asked_harmful)
    ]
    contrasts = {
        "misalignment": collect_contrast(
            loaded, *answers, is_paired=texts.is_paired, batch_size=batch_size
        ),
        "refusal": collect_contrast(
            loaded, *prompts[:2], at="last_prompt_token", batch_size=batch_size
        ),
    }
    tensors = {
        f"{name}.{part}": getattr(contrast, part)
        for name, contrast in contrasts.items()
        for part in _PARTS
    }
    first = prompts[0][0].input_ids[0]
    options: Mapping[str, Any] = {"pad_id": loaded.pad_id, "batch_size": batch_size}
    tensors["asked"] = collect_states(loaded.model, loaded.architecture, prompts[2], **options)
    tensors["first_token"] = collect_states(
        loaded.model, loaded.architecture, [ChatTokens([first], 1)], at="last_token", **options
    )[:, 0]
    return Taken(tensors, {"layers": list(contrasts["refusal"].layers)})


def states_of(
    taken: Taken, *, is_paired: bool, axes: Float[Tensor, "layer d_model"] | None = None
) -> ModelStates:
    """Put a reading together again.

    Args:
        taken: From `read_states`.
        is_paired: Whether answers are in pairs.
        axes: Taken out of all states, layer by layer; None for nothing.
    """
    layers = tuple(int(layer) for layer in taken.notes["layers"])

    def contrast(name: str, *, is_paired: bool) -> Contrast:
        parts: dict[str, Any] = {part: taken.tensors[f"{name}.{part}"] for part in _PARTS}
        made = Contrast(layers=layers, site="resid_post", is_paired=is_paired, **parts)
        return made if axes is None else spared(made, axes)

    asked = taken.tensors["asked"]
    if axes is not None:
        unit = torch.nn.functional.normalize(axes, dim=-1)[:, None]
        asked = asked - (asked * unit).sum(dim=-1, keepdim=True) * unit
    return ModelStates(
        misalignment=contrast("misalignment", is_paired=is_paired),
        refusal=contrast("refusal", is_paired=False),
        asked=asked,
        first_token=taken.tensors["first_token"],
    )
