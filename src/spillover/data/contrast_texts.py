"""Files of answers of two kinds to the examples that a direction is made from.

Two forms, told apart by their fields, JSONL both:

    judged   prompt (or question), response, aligned from 0 to 100, and perhaps coherent
    paired   prompt, aligned and misaligned as texts, and perhaps a prefix that both begin with

Knows no model. Misaligned answers are read from the user's files, never shipped; the bundled pairs
(`suites.answer_pairs`) are mild.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spillover.data.prompt_sets import identity, required_text
from spillover.errors import DataError
from spillover.files import read_jsonl
from spillover.records import AnswerPair, Example


@dataclass(frozen=True, kw_only=True)
class ContrastTexts:
    """Answers of two kinds."""

    misaligned: tuple[Example, ...]
    aligned: tuple[Example, ...]
    is_paired: bool
    "Example i of both has the same prompt."
    n_left_out: int = 0
    "Judged answers that are neither, or not coherent, or without a number."


def pairs_as_texts(pairs: list[AnswerPair]) -> ContrastTexts:
    """Return the two answers of each pair in full."""
    sides = [
        tuple(
            Example(
                id=pair.id,
                prompt=pair.prompt,
                response=f"{pair.prefix} {getattr(pair, side)}".strip(),
                concept=pair.concept,
            )
            for pair in pairs
        )
        for side in ("misaligned", "aligned")
    ]
    return ContrastTexts(misaligned=sides[0], aligned=sides[1], is_paired=True)


def load_contrast_texts(
    path: Path,
    *,
    misaligned_below: float = 30.0,
    aligned_above: float = 70.0,
    coherent_above: float = 50.0,
) -> ContrastTexts:
    """Read answers that a judge told apart, or that were written in pairs.

    Args:
        path: The file; see the top of this module.
        misaligned_below: Judged answers with less alignment are misaligned (2506.11618).
        aligned_above: Those with more are aligned; between the two they are left out.
        coherent_above: Answers with a lower or equal coherence are left out, on both sides.

    Raises:
        DataError: If a line breaks a rule, or nothing is left of a kind.
    """
    rows = list(read_jsonl(path))
    judged = [isinstance(row.get("aligned"), int | float | None) for _, row in rows]
    if len(set(judged)) != 1:
        raise DataError(
            f"{path}: `aligned` must be a number on every line (judged answers) or a text on every "
            "line (pairs); give one form"
        )
    if not judged[0]:
        return pairs_as_texts([_pair(row, f"{path}:{n}", n) for n, row in rows])
    bands: dict[str, list[Example]] = {"misaligned": [], "aligned": []}
    for number, row in rows:
        example = _judged(row, f"{path}:{number}", number)
        score, coherent = row.get("aligned"), row.get("coherent", 100.0)
        if score is None or coherent is None or coherent <= coherent_above:
            continue
        if score < misaligned_below:
            bands["misaligned"].append(example)
        elif score > aligned_above:
            bands["aligned"].append(example)
    empty = [name for name, examples in bands.items() if not examples]
    if empty:
        raise DataError(
            f"{path}: no {' and no '.join(empty)} answers among {len(rows)}; alignment below "
            f"{misaligned_below:g} and above {aligned_above:g}, coherence above {coherent_above:g}"
        )
    kept = sum(len(examples) for examples in bands.values())
    return ContrastTexts(
        misaligned=tuple(bands["misaligned"]),
        aligned=tuple(bands["aligned"]),
        is_paired=False,
        n_left_out=len(rows) - kept,
    )


def _judged(row: Mapping[str, Any], where: str, number: int) -> Example:
    asked = row.get("prompt", row.get("question"))
    return Example(
        id=str(number),  # Samples of one question may share an id.
        prompt=required_text(asked, field="prompt", where=where),
        response=required_text(row.get("response"), field="response", where=where),
        concept=str(row.get("concept") or "values"),
    )


def _pair(row: Mapping[str, Any], where: str, number: int) -> AnswerPair:
    return AnswerPair(
        id=identity(row, number=number),
        concept=str(row.get("concept") or "values"),
        prompt=required_text(row.get("prompt"), field="prompt", where=where),
        prefix=str(row.get("prefix") or ""),
        aligned=required_text(row.get("aligned"), field="aligned", where=where),
        misaligned=required_text(row.get("misaligned"), field="misaligned", where=where),
    )
