"""Turns prompts into concepts, by what the bundled training prompts teach. No torch.

The concepts are those of https://arxiv.org/abs/2511.14017, appendix A.1, with toxicity, which the
paper takes from a set of its own; `other` is for prompts that belong to none. Where a model's
states of the prompts are given, they are learnt from as well; what makes them is the caller's
affair.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from spillover.data.concept_words import CONCEPT_WORDS
from spillover.data.concepts import BENIGN_LOOKALIKE, BENIGN_PLAIN, CONCEPTS
from spillover.data.prompt_sets import bundled_prompts
from spillover.records import Prompt, Record
from spillover.seeding import numpy_generator

OTHER = "other"
"Concept of a prompt that belongs to none of the seven."
UNCLEAR = "unclear"
"Concept of a prompt of which too little is sure."
INVALID = "invalid"
"Concept of a prompt on which a language model gave no answer that can be read."
THRESHOLD = 0.4
"Least probability of a concept that is named, unless told otherwise."

_N_OTHER = 300  # Of either kind. More of them, and more harmful prompts are taken for `other`.
_LIST_SCALE = 0.3
_STATE_SCALE = 0.1
_STRENGTH = 3.0

States = Float[np.ndarray, "layer prompt d_model"]


@dataclass(frozen=True, kw_only=True)
class PromptConcept(Record):
    """What one prompt was classified as, by whoever it was."""

    concept: str
    "One of the seven, `other`, `unclear`, or `invalid` where a language model did not say."
    likeliest: str
    "The likeliest of the seven; the concept itself where a language model named it."
    confidence: float | None = None
    "Probability of the likeliest concept, in [0, 1]; None where a language model named it."
    reason: str = ""
    "What was likeliest, in a language model's words, or why the concept is invalid."


@dataclass(frozen=True, kw_only=True)
class ConceptClassifier:
    """A logistic regression over a prompt's words, listed words and perhaps states."""

    words: Any
    "Fitted vectorisers of words, pairs of words and pieces of words."
    model: Any
    state_mean: Float[np.ndarray, " value"] | None
    "Of the examples' states, layers side by side; None where words are all there is."
    state_spread: Float[np.ndarray, " value"] | None


def concept_examples() -> list[Prompt]:
    """Return the bundled training prompts: all of the seven concepts, and some benign ones.

    Benign ones, half of them alike in wording to harmful ones, get the concept `other`.
    """
    examples = [p for concept in CONCEPTS for p in bundled_prompts(concept, split="train")]
    for name in (BENIGN_PLAIN, BENIGN_LOOKALIKE):
        benign = bundled_prompts(name, split="train")
        chosen = numpy_generator(0, "concepts", name).permutation(len(benign))[:_N_OTHER]
        examples += [
            Prompt(id=benign[i].id, prompt=benign[i].prompt, concept=OTHER) for i in sorted(chosen)
        ]
    return examples


def learn_concepts(
    examples: Sequence[Prompt], *, states: States | None = None
) -> ConceptClassifier:
    """Learn concepts from examples.

    Words that many concepts share are weighed down (TF-IDF); listed words of each concept
    (`concept_words`) tell prompts on topics that no example has.

    Args:
        examples: Prompts with their concepts, at least two.
        states: A model's states of the same prompts in the same order, one per layer; None learns
            from words alone.

    Raises:
        ValueError: If there are fewer than two concepts, or states of another number of prompts.
    """
    from sklearn.linear_model import LogisticRegression

    concepts = [example.concept for example in examples]
    if len(set(concepts)) < 2:
        raise ValueError(f"{len(set(concepts))} concept(s) among the examples; give at least two")
    prompts = [example.prompt for example in examples]
    values = None if states is None else _side_by_side(states, n_prompts=len(prompts))
    classifier = ConceptClassifier(
        words=_word_vectorisers().fit(prompts),
        model=LogisticRegression(C=_STRENGTH, max_iter=1_000),
        state_mean=None if values is None else values.mean(axis=0),
        state_spread=None if values is None else _spread(values),
    )
    classifier.model.fit(_features(classifier, prompts, states), concepts)
    return classifier


def classify_concepts(
    classifier: ConceptClassifier,
    prompts: Sequence[str],
    *,
    states: States | None = None,
    threshold: float = THRESHOLD,
    is_forced: bool = False,
) -> list[PromptConcept]:
    """Classify prompts.

    Args:
        classifier: From `learn_concepts`.
        prompts: What to classify.
        states: Of these prompts, from the same model and layers as those it was learnt with.
        threshold: Below this probability the concept is `unclear`; 0 names the likeliest always.
        is_forced: Whether every prompt belongs to one of the seven, as in a set of harmful ones;
            then none is `other`, and probabilities are among the seven.

    Raises:
        ValueError: If states are given to a classifier that was learnt without, or the other way
            round, or `threshold` is not in [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; it must lie in [0, 1]")
    if (states is None) != (classifier.state_mean is None):
        raise ValueError("give states to a classifier that was learnt with them, and only to one")
    if not prompts:
        return []
    names = [str(name) for name in classifier.model.classes_]
    probabilities = classifier.model.predict_proba(_features(classifier, prompts, states))
    if is_forced:
        kept = [i for i, name in enumerate(names) if name != OTHER]
        names = [names[i] for i in kept]
        probabilities = probabilities[:, kept] / probabilities[:, kept].sum(axis=1, keepdims=True)
    return [_prompt_concept(names, row, threshold=threshold) for row in probabilities]


def _prompt_concept(
    names: Sequence[str], probabilities: Float[np.ndarray, " concept"], *, threshold: float
) -> PromptConcept:
    order = [names[i] for i in np.argsort(-probabilities, kind="stable")]
    confidence = float(probabilities.max())
    return PromptConcept(
        concept=order[0] if confidence >= threshold else UNCLEAR,
        likeliest=next((name for name in order if name != OTHER), order[0]),
        confidence=confidence,
        reason=f"likeliest: {order[0]}",
    )


def _word_vectorisers() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    return make_union(
        TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)),
        TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(3, 5)),
    )


def _features(classifier: ConceptClassifier, prompts: Sequence[str], states: States | None) -> Any:
    from scipy.sparse import csr_matrix, hstack

    parts = [
        classifier.words.transform(prompts),
        csr_matrix(_LIST_SCALE * listed_word_features(prompts)),
    ]
    if states is not None:
        values = _side_by_side(states, n_prompts=len(prompts)) - classifier.state_mean
        scale = _STATE_SCALE / np.sqrt(len(states))
        parts.append(csr_matrix(scale * values / classifier.state_spread))
    return hstack(parts).tocsr()


def _side_by_side(states: States, *, n_prompts: int) -> Float[np.ndarray, "prompt value"]:
    if states.shape[1] != n_prompts:
        raise ValueError(
            f"states of {states.shape[1]} prompts for {n_prompts}; give one of each per layer"
        )
    return np.concatenate(list(states), axis=1).astype(np.float64)


def _spread(values: Float[np.ndarray, "prompt value"]) -> Float[np.ndarray, " value"]:
    spread = values.std(axis=0)
    return np.where(spread > 0, spread, 1.0)


def listed_word_features(prompts: Sequence[str]) -> Float[np.ndarray, "prompt feature"]:
    """Count each concept's listed words in each prompt.

    Returns:
        For each concept the logarithm of one more than the number of different words, its share of
        all that were found, and whether no concept has more; concepts in the order of `CONCEPTS`.
    """
    rows = [[len(set(p.findall(prompt.lower()))) for p in _LISTED.values()] for prompt in prompts]
    counts = np.asarray(rows, dtype=np.float64).reshape(len(rows), len(_LISTED))
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    is_most = (counts == counts.max(axis=1, keepdims=True)) & (counts > 0)
    return np.hstack([np.log1p(counts), shares, is_most])


def _listed(words: str) -> re.Pattern[str]:
    """Compile a list of words; a star stands for any ending, other words may be plural."""
    endings = sorted((_ending(word) for word in words.split()), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(endings)})\b")


def _ending(word: str) -> str:
    spaced = word.replace("-", "[ -]")
    return spaced[:-1] + r"\w*" if word.endswith("*") else spaced + "(?:s|'s)?"


_LISTED = {concept: _listed(CONCEPT_WORDS[concept]) for concept in CONCEPTS}
