"""Turns prompts into completions by several generators, one for each kind of prompt.

So an adapter that was trained on one concept answers prompts of that concept only, and what it
would break elsewhere is not touched. How a prompt's kind is found is the caller's: its concept
label in a study, a classifier in use; what the classifier gets wrong, the adapter answers.
"""

from collections.abc import Callable, Mapping, Sequence

from spillover.errors import ConfigError
from spillover.generation.protocol import GenerationSettings, Generator, OnCompletion
from spillover.records import Completion, Prompt


class RoutedGenerator:
    """A generator that hands each prompt to one of several.

    Example:
        >>> from spillover.generation.scripted import ScriptedGenerator
        >>> says = lambda text: ScriptedGenerator(lambda prompt: text)
        >>> parts = {"base": says("base"), "bias": says("bias")}
        >>> routed = RoutedGenerator(parts, lambda p: p.concept if p.concept in parts else "base")
        >>> prompts = [Prompt(id=c, prompt="Hi", concept=c) for c in ("safety", "bias")]
        >>> [c.response for c in routed.generate(prompts, settings=GenerationSettings())]
        ['base', 'bias']
    """

    def __init__(
        self,
        generators: Mapping[str, Generator],
        route: Callable[[Prompt], str],
        name: str = "routed",
    ) -> None:
        """Keep the generators.

        Args:
            generators: Name -> generator; such as the aligned model and one tuned model a concept.
            route: Says which of them answers a prompt.
            name: Of the whole in the study; completions carry it.
        """
        self.name = name
        self._generators = dict(generators)
        self._route = route

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        settings: GenerationSettings,
        on_completion: OnCompletion | None = None,
        done: Sequence[Completion] = (),
    ) -> list[Completion]:
        """Return one completion for each prompt, in the same order.

        Raises:
            ConfigError: If a prompt is routed to a generator that is not there.
        """
        finished = {completion.id for completion in done}
        found = {completion.id: completion for completion in done}
        by_name: dict[str, list[Prompt]] = {}
        for prompt in prompts:
            if prompt.id not in finished:
                by_name.setdefault(self._checked(prompt), []).append(prompt)
        for name, own in by_name.items():
            for completion in self._generators[name].generate(own, settings=settings):
                renamed = Completion.from_dict({**completion.to_dict(), "model": self.name})
                found[renamed.id] = renamed
                if on_completion is not None:
                    on_completion(renamed)
        return [found[prompt.id] for prompt in prompts]

    def _checked(self, prompt: Prompt) -> str:
        name = self._route(prompt)
        if name not in self._generators:
            raise ConfigError(
                f"prompt {prompt.id!r} is routed to {name!r}; there are "
                f"{', '.join(self._generators)}: add it, or route such prompts to one of these"
            )
        return name
