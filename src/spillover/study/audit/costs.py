"""How long the steps of an audit take on this machine: estimates from a model's shape.

The rates are those of `estimates`; what is most uncertain is what other work the machine does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spillover.errors import ModelError
from spillover.generation import GenerationSettings
from spillover.study.scale.estimates import LAYER_SECONDS, LOADED, TRAINED, generation_estimate
from spillover.study.scale.training_works import CHARACTERS_PER_TOKEN, TEMPLATE_TOKENS

if TYPE_CHECKING:
    from spillover.study.scale.hardware import Hardware
    from spillover.study.scale.model_shapes import ModelShape

START_SECONDS = 4.0
"Of loading any model: imports, tokenizer, merging."


@dataclass(frozen=True)
class Costs:
    """What work on one model takes, in seconds."""

    shape: "ModelShape"
    hardware: "Hardware"
    dtype: str

    def loading(self) -> float:
        """Return the time to load it."""
        return START_SECONDS + self.shape.n_parameters * 2 / LOADED

    def answering(self, texts: Sequence[str], settings: GenerationSettings) -> float:
        """Return the time of greedy answers."""
        return generation_estimate(
            "answers",
            self.shape,
            self.hardware,
            n_prompts=len(texts),
            prompt_tokens=_tokens(texts) / max(1, len(texts)),
            new_tokens=settings.max_new_tokens,
            batch_size=settings.batch_size,
            dtype=self.dtype,
        ).seconds

    def reading(self, texts: Sequence[str], *, batch_size: int) -> float:
        """Return the time of one forward pass over each text."""
        operations = 2 * self.shape.n_matrix * _tokens(texts)
        passes = len(texts) / batch_size * self.shape.n_layers * LAYER_SECONDS
        return operations / (self.hardware.flops * TRAINED) + passes


def _tokens(texts: Sequence[str]) -> float:
    return sum(len(text) / CHARACTERS_PER_TOKEN + TEMPLATE_TOKENS for text in texts)


def find_costs(source: str, hardware: "Hardware", *, dtype: str) -> Costs | None:
    """Return the costs of a local model; None where its shape cannot be read before loading."""
    from spillover.study.scale.model_shapes import model_shape

    try:
        return Costs(model_shape(source), hardware, dtype)
    except ModelError:  # Loading will say what is wrong, if anything is.
        return None
