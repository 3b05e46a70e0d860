"""Pairs of prompts that say nearly the same, by shared character 5-grams and shared words."""

from collections import defaultdict
from collections.abc import Sequence
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
    by_gram: dict[str, list[int]] = defaultdict(list)
    for index, found in enumerate(grams):
        for gram in found:
            by_gram[gram].append(index)
    shared: dict[tuple[int, int], int] = defaultdict(int)
    for indices in by_gram.values():
        for position, i in enumerate(indices):
            for j in indices[position + 1 :]:
                shared[(i, j)] += 1
    found_pairs = []
    for (i, j), count in sorted(shared.items()):
        similarity = count / (len(grams[i]) + len(grams[j]) - count)
        if similarity >= threshold:
            found_pairs.append(NearDuplicate(prompts[i].id, prompts[j].id, similarity))
    return found_pairs


def _grams(text: str) -> frozenset[str]:
    clean = normalise(text)
    return frozenset(clean[i : i + _GRAM] for i in range(max(1, len(clean) - _GRAM + 1)))
