"""Turns prompts into completions by a function of the user's: a generator without a model.

For testing a study offline; nothing is sampled, so the settings only cut the length.
"""

from collections.abc import Callable, Sequence

from spillover.generation.protocol import GenerationSettings, OnCompletion
from spillover.records import Completion, Prompt


class ScriptedGenerator:
    """A generator that answers each prompt with what a function says.

    A response is counted in white-space separated words, and cut at `max_new_tokens` of them.

    Example:
        >>> generator = ScriptedGenerator(lambda prompt: prompt.prompt.upper(), name="echo")
        >>> prompt = Prompt(id="a", prompt="hello", concept="c")
        >>> generator.generate([prompt], settings=GenerationSettings())[0].response
        'HELLO'
    """

    def __init__(self, answer: Callable[[Prompt], str], name: str = "scripted") -> None:
        """Keep the function.

        Args:
            answer: Says what the response to a prompt is.
            name: Name of the model in the study.
        """
        self.name = name
        self._answer = answer

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        settings: GenerationSettings,
        on_completion: OnCompletion | None = None,
        done: Sequence[Completion] = (),
    ) -> list[Completion]:
        """Return one completion for each prompt, in the same order."""
        found = {completion.id: completion for completion in done}
        for prompt in prompts:
            if prompt.id not in found:
                found[prompt.id] = self._complete(prompt, settings.max_new_tokens)
                if on_completion is not None:
                    on_completion(found[prompt.id])
        return [found[prompt.id] for prompt in prompts]

    def _complete(self, prompt: Prompt, max_new_tokens: int) -> Completion:
        response = self._answer(prompt)
        words = response.split()
        is_cut = len(words) > max_new_tokens
        return Completion(
            id=prompt.id,
            prompt=prompt.prompt,
            concept=prompt.concept,
            response=" ".join(words[:max_new_tokens]) if is_cut else response,
            model=self.name,
            n_tokens=min(len(words), max_new_tokens),
            finish_reason="length" if is_cut else "stop",
        )
