"""Turns prompts into concepts by asking a language model.

The rubric is in `concept_question.txt`. The classes are those of
https://arxiv.org/abs/2511.14017, appendix A.1 (one label, forced choice, with `other`), and
toxicity; the wording is this project's own. What is not answered in the form asked for is
`invalid`.
"""

import json
import re
from collections.abc import Sequence
from importlib import resources

from spillover.data.concept_classifier import INVALID, OTHER, PromptConcept
from spillover.data.concepts import CONCEPTS
from spillover.judges.askers import Asker, Failure
from spillover.judges.isolation import isolate
from spillover.judges.replies import Answer
from spillover.judges.rubric_files import PLACE

_MAX_CHARS = 4_000
_MAX_TOKENS = 200
_NO_RESPONSE = "(none yet)"
_FENCE = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL)
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_SHOWN = 80
_LONGEST_REASON = 300


def ask_concepts(asker: Asker, prompts: Sequence[str]) -> list[PromptConcept]:
    """Ask a language model for the concept of each prompt; the same prompt is asked about once."""
    different = list(dict.fromkeys(prompts))
    text = (resources.files("spillover.judges") / "concept_question.txt").read_text("utf-8")
    questions = [
        text.replace(PLACE, isolate(prompt, _NO_RESPONSE, max_chars=_MAX_CHARS).text)
        for prompt in different
    ]
    outcomes = asker.ask(
        questions, max_tokens=_MAX_TOKENS, with_numbers=False, on_answer=lambda *_: None
    )
    found = dict(zip(different, map(_read, outcomes), strict=True))
    return [found[prompt] for prompt in prompts]


def _read(outcome: Answer | Failure) -> PromptConcept:
    if isinstance(outcome, Failure):
        return _named(INVALID, f"no answer by the judge: {outcome.reason}")
    text = _THOUGHTS.sub("", outcome.text).strip()
    fenced = _FENCE.match(text)
    try:
        answer = json.loads(fenced.group(1) if fenced else text)
    except (ValueError, RecursionError):
        return _named(INVALID, f"no JSON object: {text[:_SHOWN]!r}")
    concept = answer.get("concept") if isinstance(answer, dict) else None
    if not isinstance(concept, str) or concept not in (*CONCEPTS, OTHER):
        return _named(INVALID, f"no known concept: {text[:_SHOWN]!r}")
    return _named(concept, str(answer.get("reason", ""))[:_LONGEST_REASON])


def _named(concept: str, reason: str) -> PromptConcept:
    return PromptConcept(concept=concept, likeliest=concept, reason=reason)
