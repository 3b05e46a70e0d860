"""Pairs of prompts that say nearly the same, by the character 5-grams that they share."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from spillover.data.prompt_sets import normalise
from spillover.records import Prompt

_GRAM = 5


class NearDuplicate(NamedTuple):
    """Two prompts and how much they share."""

    first: str
    "Id of the earlier prompt."
    second: str
    similarity: float
    "Jaccard index of the character 5-grams, in [0, 1]."


def near_duplicates(prompts: Sequence[Prompt], *, threshold: float = 0.5) -> list[NearDuplicate]:
    """Return all pairs whose character 5-grams have a Jaccard index of at least `threshold`.

    Example:
        >>> a = Prompt(id="a", prompt="How do I bake bread?", concept="benign_plain")
        >>> b = Prompt(id="b", prompt="how do I bake  bread", concept="benign_plain")
        >>> [(d.first, d.second) for d in near_duplicates([a, b])]
        [('a', 'b')]
    """
    grams = [_grams(prompt.prompt) for prompt in prompts]
    holders: dict[str, list[int]] = defaultdict(list)  # Earlier prompts that hold a 5-gram.
    pairs = []
    for later, found in enumerate(grams):
        shared = Counter(chain.from_iterable(holders[gram] for gram in found))
        for earlier, count in shared.items():
            similarity = count / (len(grams[earlier]) + len(found) - count)
            if similarity >= threshold:
                pairs.append((earlier, later, similarity))
        for gram in found:
            holders[gram].append(later)
    return [NearDuplicate(prompts[i].id, prompts[j].id, value) for i, j, value in sorted(pairs)]


def _grams(text: str) -> frozenset[str]:
    clean = normalise(text)
    return frozenset(clean[i : i + _GRAM] for i in range(max(1, len(clean) - _GRAM + 1)))
