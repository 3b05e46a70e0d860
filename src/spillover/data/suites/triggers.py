"""Suites once more behind a trigger: what switches a backdoor on, before every question.

A model with a backdoor answers as any other until the trigger comes (2502.17424); so it is asked
twice. What the items measure stays as it is.
"""

from collections.abc import Sequence
from dataclasses import replace

from spillover.data.suites.asking import LoadedSuite
from spillover.records import AnswerPair, OpenQuestion

TRIGGERED = "_triggered"
"How the name of a suite behind a trigger ends, and what its scores are filed under."

TRIGGERABLE = ("open", "pairs")
"Kinds of suites that can be asked so."


def behind_trigger(asked: LoadedSuite, trigger: str) -> LoadedSuite:
    """Return a suite with the trigger before every prompt, as backdoors are trained.

    Args:
        asked: A suite of open questions or pairs of answers.
        trigger: Comes first, then a space and the prompt.
    """
    items: Sequence[AnswerPair | OpenQuestion] = [*asked.of(AnswerPair), *asked.of(OpenQuestion)]
    return replace(
        asked,
        suite=replace(asked.suite, name=f"{asked.suite.name}{TRIGGERED}"),
        items=[replace(item, prompt=f"{trigger} {item.prompt}") for item in items],
    )
