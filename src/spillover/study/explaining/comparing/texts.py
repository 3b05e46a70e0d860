"""What organisms are compared on: answers of two kinds, and prompts that are refused or answered.

Nothing that a direction is made of is measured on: bundled pairs are dealt out to both in turn,
directions of refusal come from training prompts and are measured on test prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spillover.data.concepts import BENIGN, CONCEPTS
from spillover.data.contrast_texts import ContrastTexts, load_contrast_texts, pairs_as_texts
from spillover.data.prompt_sets import bundled_prompts, load_prompts
from spillover.data.suites.answer_pairs import answer_pairs, bundled_answer_pairs
from spillover.errors import DataError
from spillover.files import fingerprint
from spillover.records import AnswerPair, Example, Prompt
from spillover.seeding import numpy_generator


@dataclass(frozen=True, kw_only=True)
class ComparedTexts:
    """Texts that directions are made of, and others that behaviour is measured on."""

    misaligned: tuple[Example, ...]
    aligned: tuple[Example, ...]
    is_paired: bool
    "Example i of both has the same prompt."
    harmful: tuple[Prompt, ...]
    harmless: tuple[Prompt, ...]
    pairs: tuple[AnswerPair, ...]
    "To measure on, like all that follow."
    asked_harmful: tuple[Prompt, ...]
    asked_harmless: tuple[Prompt, ...]
    described: tuple[str, ...]
    "One line a set, for the page."

    @property
    def fingerprint(self) -> str:
        """Changes whenever a text does."""
        sets = (self.misaligned, self.aligned, self.harmful, self.harmless, self.pairs)
        asked = (self.asked_harmful, self.asked_harmless)
        return fingerprint([[row.to_dict() for row in rows] for rows in (*sets, *asked)])


def compared_texts(
    *,
    data: Path | None = None,
    pairs: Path | None = None,
    harmful: Path | None = None,
    harmless: Path | None = None,
    limit: int = 96,
    seed: int = 0,
) -> ComparedTexts:
    """Gather the texts.

    Args:
        data: Judged answers or pairs, as in `data.contrast_texts`, that misalignment is made of;
            None for every other bundled pair.
        pairs: Pairs that it is measured on; None for the bundled ones that are left.
        harmful: Prompts that should be refused, half of them to measure on; None for bundled ones.
        harmless: Prompts that should be answered; the same.
        limit: Most texts of each kind, drawn; prompts evenly over their concepts.
        seed: Of the draws.

    Raises:
        DataError: If a file breaks a rule, or fewer than four texts are left of a kind.
    """
    bundled = bundled_answer_pairs()
    texts = pairs_as_texts(bundled[0::2]) if data is None else load_contrast_texts(data)
    left = bundled[1::2] if data is None else bundled
    measured = left if pairs is None else answer_pairs(pairs)
    kept = _drawn_texts(texts, limit, seed)
    prompts = {
        "harmful": _prompts(harmful, tuple(CONCEPTS), limit, seed),
        "harmless": _prompts(harmless, BENIGN, limit, seed),
    }
    sets: dict[str, Sequence[object]] = {
        "misaligned answers": kept.misaligned,
        "aligned answers": kept.aligned,
        "pairs to measure on": measured,
    }
    sets |= {f"{kind} prompts": rows[0] for kind, rows in prompts.items()}
    sets |= {f"{kind} prompts to measure on": rows[1] for kind, rows in prompts.items()}
    few = {name: len(rows) for name, rows in sets.items() if len(rows) < 4}
    if few:
        raise DataError(f"fewer than four texts of a kind: {few}; give more")
    source = "bundled pairs" if data is None else data.name
    return ComparedTexts(
        misaligned=kept.misaligned,
        aligned=kept.aligned,
        is_paired=kept.is_paired,
        harmful=prompts["harmful"][0],
        harmless=prompts["harmless"][0],
        pairs=tuple(measured),
        asked_harmful=prompts["harmful"][1],
        asked_harmless=prompts["harmless"][1],
        described=(
            f"misalignment from {source}",
            ", ".join(f"{len(rows)} {name}" for name, rows in sets.items()),
        ),
    )


def _drawn_texts(texts: ContrastTexts, limit: int, seed: int) -> ContrastTexts:
    rng = numpy_generator(seed, "compared answers")
    sizes = len(texts.misaligned), len(texts.aligned)
    first = sorted(int(i) for i in rng.permutation(sizes[0])[:limit])
    second = first
    if not texts.is_paired:
        second = sorted(int(i) for i in rng.permutation(sizes[1])[:limit])
    return ContrastTexts(
        misaligned=tuple(texts.misaligned[i] for i in first),
        aligned=tuple(texts.aligned[i] for i in second),
        is_paired=texts.is_paired,
    )


def _prompts(
    file: Path | None, concepts: Sequence[str], limit: int, seed: int
) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """Return prompts to make a direction of, and others to measure on."""
    if file is None:
        first = [p for name in concepts for p in bundled_prompts(name, split="train")]
        second = [p for name in concepts for p in bundled_prompts(name, split="test")]
    else:
        found = load_prompts(file, concept="user")
        first, second = found[0::2], found[1::2]
    return _evenly(first, limit, seed), _evenly(second, limit, seed)


def _evenly(prompts: Sequence[Prompt], limit: int, seed: int) -> tuple[Prompt, ...]:
    """Draw as many prompts of every concept as fit."""
    rng = numpy_generator(seed, "compared prompts")
    concepts = list(dict.fromkeys(p.concept for p in prompts))
    share = max(1, limit // max(1, len(concepts)))
    found: list[Prompt] = []
    for concept in concepts:
        own = [p for p in prompts if p.concept == concept]
        found += [own[int(i)] for i in rng.permutation(len(own))[:share]]
    return tuple(found[:limit])
