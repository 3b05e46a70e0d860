"""Completions kept by content, so that an interrupted or repeated generation goes on from there."""

from collections.abc import Sequence
from pathlib import Path

from spillover.files import append_jsonl, fingerprint, read_journal
from spillover.generation.protocol import GenerationSettings, Generator, OnCompletion
from spillover.records import Completion, Prompt


def generate_cached(
    generator: Generator,
    prompts: Sequence[Prompt],
    *,
    settings: GenerationSettings,
    source: str,
    folder: Path,
    on_completion: OnCompletion | None = None,
) -> list[Completion]:
    """Generate what `folder` does not hold yet, writing each completion as it is made.

    Args:
        generator: Who answers.
        prompts: What to answer; ids must be unique.
        settings: How.
        source: Identity of the model, such as its fingerprint; a change asks everything again.
        folder: Holds one journal for each combination of source, settings and prompts.
        on_completion: Called with each completion, those that were kept included.

    Returns:
        One completion a prompt, in order.
    """
    asked = [(prompt.id, prompt.concept, prompt.prompt) for prompt in prompts]
    key = fingerprint([source, settings.to_dict(), asked])
    journal = folder / f"{key}.jsonl"
    # The name is not part of the key: two names for one model share their completions.
    rows = [{**row, "model": generator.name} for row in read_journal(journal)]
    done = [Completion.from_dict(row) for row in rows]

    def keep(completion: Completion) -> None:
        append_jsonl(journal, [completion.to_dict()])
        if on_completion is not None:
            on_completion(completion)

    for completion in done:
        if on_completion is not None:
            on_completion(completion)
    return generator.generate(prompts, settings=settings, on_completion=keep, done=done)
