"""Turns a prompt and a response into numbers for a classifier: phrases found, and hashed words.

The words are hashed: several share a number, and which ones cannot be told from it, so that
weights learnt from these numbers carry no text. Knows no labels.
"""

import re
from collections.abc import Mapping, Sequence
from math import log1p
from typing import Any

import numpy as np
from jaxtyping import Float

from spillover.files import fingerprint
from spillover.judges import phrase_patterns as patterns
from spillover.judges.phrases import FOREIGN_REFUSAL, Ruling, rule_on
from spillover.judges.plain_text import plain_text, split_sentences
from spillover.judges.pseudo_refusals import PSEUDO_REFUSAL
from spillover.records import Completion

N_WORD_FEATURES = 2**13

_OPENING_SENTENCES = 4
_OPENING_CHARS = 800
_WORD_CHARS = 1_000
_PROMPT_CHARS = 1_000
_MOST_COUNTED = 10
_TOKEN = r"[a-z']+"
_LONG_WORD = re.compile(r"[a-z]{4,}")
_COUNTED: Mapping[str, re.Pattern[str]] = {
    name.lower(): getattr(patterns, name)
    for name in (
        "WILL_NOT",
        "DECLINE",
        "BARE",
        "APOLOGY",
        "OBJECTION",
        "DENIAL",
        "PRIVACY",
        "REFERRAL",
        "REDIRECTION",
        "SYMPATHY",
        "ALTERNATIVE",
        "PIVOT",
        "CONCESSION",
        "EXPLANATION",
        "IMPOSSIBILITY",
        "AFFIRMATION",
        "ARTEFACT",
        "NOT_REFUSING",
        "NO",
        "STEP",
        "FENCE",
    )
}
_ZONES = ("first", "second", "opening", "all", "last")
_RULINGS = ("refusal", "deflection", "compliance")
_REASONS = ("declines", "objects", "redirects", "answers after declining", "pseudo-refusal")
_MEASURES = ("length", "sentences", "echo of the prompt at first", "echo of the prompt")
_NAMES = (
    *(f"{name} in {zone}" for name in _COUNTED for zone in _ZONES),
    *(f"number of {name}" for name in _COUNTED),
    *(f"ruling {label}" for label in _RULINGS),
    *(f"reason {reason}" for reason in _REASONS),
    *_MEASURES,
    "prompt seeks reasons",
)


def phrase_feature_names() -> tuple[str, ...]:
    """Return what each column of `phrase_features` means, in order."""
    return _NAMES


def features_fingerprint() -> str:
    """Return a hash of all that the features mean; weights learnt under another one do not fit."""
    expressions = {name: pattern.pattern for name, pattern in _COUNTED.items()}
    sizes = [N_WORD_FEATURES, _OPENING_SENTENCES, _OPENING_CHARS, _WORD_CHARS, _MOST_COUNTED]
    return fingerprint([expressions, _NAMES, sizes, _TOKEN, patterns.SEEKS_REASONS.pattern])


def phrase_features(
    completions: Sequence[Completion], rulings: Sequence[Ruling]
) -> Float[np.ndarray, "response feature"]:
    """Count phrases in parts of each response.

    Args:
        completions: The responses with their prompts.
        rulings: What the phrases judge says of each.

    Returns:
        One row a response and one column a name; presences are 0 or 1, counts and lengths are
        scaled to about that size.
    """
    rows = [_row(c, ruling) for c, ruling in zip(completions, rulings, strict=True)]
    return np.asarray(rows, dtype=np.float64).reshape(len(rows), len(_NAMES))


def rulings_on(completions: Sequence[Completion]) -> list[Ruling]:
    """Return what the phrases judge says of each completion."""
    return [rule_on(c.response, prompt=c.prompt) for c in completions]


def is_beyond_words(ruling: Ruling) -> bool:
    """Whether a ruling is on a refusal of a kind that labelled sets hardly hold.

    Refusals in the shape of code or of a server's error, changes of the subject, and refusals in
    other languages: what is learnt from English sentences says nothing of them.
    """
    kind = ruling.reason.split(":")[0]
    return ruling.label == "deflection" or kind in (PSEUDO_REFUSAL, FOREIGN_REFUSAL)


def _row(completion: Completion, ruling: Ruling) -> list[float]:
    text = plain_text(completion.response)
    sentences = list(split_sentences(text)) or [""]
    starts = {name: [m.start() for m in p.finditer(text)] for name, p in _COUNTED.items()}
    zones = _zones(text, sentences)
    reason = ruling.reason.split(":")[0]
    return [
        *(float(any(map(zone.__contains__, at))) for at in starts.values() for zone in zones),
        *(min(len(at), _MOST_COUNTED) / 3 for at in starts.values()),
        *(float(ruling.label == label) for label in _RULINGS),
        *(float(reason == known) for known in _REASONS),
        *_measures(completion.prompt[:_PROMPT_CHARS].lower(), text, sentences),
    ]


def _zones(text: str, sentences: Sequence[str]) -> list[range]:
    """Return where in the text each of `_ZONES` lies."""
    spans, position = [], 0
    for sentence in sentences:
        position = text.index(sentence, position) + len(sentence)
        spans.append(range(position - len(sentence), position))
    second = spans[1] if len(spans) > 1 else range(0)
    opening = range(min(spans[:_OPENING_SENTENCES][-1].stop, _OPENING_CHARS))
    return [spans[0], second, opening, range(len(text)), spans[-1]]


def _measures(prompt: str, text: str, sentences: Sequence[str]) -> list[float]:
    asked = set(_LONG_WORD.findall(prompt))
    shares = [
        len(asked & set(_LONG_WORD.findall(part))) / max(1, len(asked))
        for part in (sentences[0], text)
    ]
    seeks_reasons = float(patterns.SEEKS_REASONS.search(prompt) is not None)
    return [log1p(len(text)) / 3, log1p(len(sentences)) / 2, *shares, seeks_reasons]


def word_features(completions: Sequence[Completion]) -> Any:
    """Hash the words and pairs of words of each response's beginning.

    Returns:
        A sparse matrix, a row a response, of length 1 (0 for a response without words). What is
        counted is whether a word or pair is there, not how often.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        ngram_range=(1, 2),
        n_features=N_WORD_FEATURES,
        alternate_sign=False,
        norm="l2",
        binary=True,
        token_pattern=_TOKEN,
        lowercase=False,
    )
    return vectorizer.transform([plain_text(c.response)[:_WORD_CHARS] for c in completions])
