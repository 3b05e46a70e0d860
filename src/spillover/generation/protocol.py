"""What a generator is: prompts in, one completion for each out.

Knows nothing of any particular model or server.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from spillover.errors import ConfigError
from spillover.records import Completion, Prompt, Record

OnCompletion = Callable[[Completion], None]
"Called with each completion as soon as it is there, so that a later failure loses nothing."


@dataclass(frozen=True, kw_only=True)
class GenerationSettings(Record):
    """How responses are sampled; the same settings and seed give the same responses.

    Raises:
        ConfigError: If a value is out of its range; the message names the key.
    """

    max_new_tokens: int = 64
    "Longest response, in tokens."
    temperature: float = 0.0
    "0 is greedy decoding; above it, sampling."
    top_p: float = 1.0
    "Nucleus of the probability mass that is sampled from, in (0, 1]."
    seed: int = 0
    "Of the sampling; no effect when greedy."
    batch_size: int = 16
    "Prompts decoded at once, where the generator decodes in batches."

    def __post_init__(self) -> None:
        _require(self.max_new_tokens >= 1, "max_new_tokens", self.max_new_tokens, "at least 1")
        _require(0.0 <= self.temperature < float("inf"), "temperature", self.temperature, ">= 0")
        _require(0.0 < self.top_p <= 1.0, "top_p", self.top_p, "in (0, 1]")
        _require(self.seed >= 0, "seed", self.seed, "0 or more")
        _require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")


def _require(holds: bool, key: str, value: float, rule: str) -> None:
    if not holds:
        raise ConfigError(f"{key} is {value}; it must be {rule}")


@runtime_checkable
class Generator(Protocol):
    """Anything with a name that answers prompts."""

    @property
    def name(self) -> str:
        """Name of the model in the study; written into every completion."""
        ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        settings: GenerationSettings,
        on_completion: OnCompletion | None = None,
        done: Sequence[Completion] = (),
    ) -> list[Completion]:
        """Return one completion for each prompt, in the same order.

        Args:
            prompts: What to ask.
            settings: How to sample.
            on_completion: Called with every new completion as it is finished, in any order.
            done: Completions of an earlier, interrupted call, which need not be made again.
        """
        ...
