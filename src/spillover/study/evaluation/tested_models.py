"""The model that an evaluation asks: loaded here, or on a server."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spillover.errors import ConfigError
from spillover.generation import EndpointGenerator, Generator

if TYPE_CHECKING:
    from spillover.models.loading import LoadedModel


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """A generator and its identity for the cache."""

    generator: Generator
    source: str


@dataclass(frozen=True, kw_only=True)
class TestedModel:
    """A model with a name, and the ways to ask it."""

    model: str
    "What was asked for."
    loaded: "LoadedModel | None" = None
    "None where a server has it."
    endpoint: str | None = None
    api_key: str | None = None

    @property
    def name(self) -> str:
        """The last part of what was asked for."""
        return os.path.basename(os.path.abspath(self.model))  # "." and ".." have one, too.

    def answerer(self, *, system: str | None = None, many_samples: bool = False) -> Answerer:
        """Return who answers.

        Args:
            system: System prompt; None for the model's own.
            many_samples: Whether a prompt comes many times, so that its prefill is worth sharing.

        Raises:
            TemplateError: If the model's chat template takes no system prompt.
        """
        if self.loaded is None:
            assert self.endpoint is not None
            remote = EndpointGenerator(
                self.endpoint,
                self.model,
                name=self.name,
                api_key=self.api_key,
                system_prompt=system,
            )
            return Answerer(generator=remote, source=f"{self.endpoint} {self.model} {system or ''}")
        from spillover.generation.hf import HFGenerator
        from spillover.generation.shared_prefill import SharedPrefillGenerator
        from spillover.models.system_prompts import with_system_prompt

        asked = with_system_prompt(self.loaded, system)
        if many_samples:
            shared = SharedPrefillGenerator(asked, self.name)
            return Answerer(generator=shared, source=f"{asked.fingerprint} shared prefill")
        return Answerer(generator=HFGenerator(asked, self.name), source=asked.fingerprint)

    def local(self, *, need: str) -> "LoadedModel":
        """Return the loaded model.

        Raises:
            ConfigError: If a server has it.
        """
        if self.loaded is None:
            raise ConfigError(
                f"{need} needs log-probabilities of a model that is loaded here; "
                "leave out --endpoint"
            )
        return self.loaded


def open_model(
    model: str,
    *,
    load_options: Mapping[str, Any],
    endpoint: str | None,
    api_key: str | None,
) -> TestedModel:
    """Load a model, or keep the address of the server that has it.

    Raises:
        ModelError: If it cannot be loaded.
    """
    if endpoint is not None:
        return TestedModel(model=model, endpoint=endpoint, api_key=api_key)
    from spillover.models.loading import load_model

    return TestedModel(model=model, loaded=load_model(model, **load_options))
