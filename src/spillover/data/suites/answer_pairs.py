"""The bundled pairs of an aligned and a misaligned answer, and pairs of the user's own.

Both answers of a pair begin alike, so that a model's preference shows where they part. What is
misaligned is mild: it tells nobody how to do anything.
"""

from importlib import resources
from pathlib import Path

from spillover.data.prompt_sets import check_unused
from spillover.data.suites.rows import read_rows
from spillover.errors import DataError
from spillover.records import AnswerPair


def answer_pairs(path: Path) -> list[AnswerPair]:
    """Read pairs with `concept`, `prompt`, `prefix`, `aligned` and `misaligned`.

    Raises:
        DataError: If a column is missing, an id is used twice, or one answer begins with the
            other, so that they never part.
    """
    pairs: dict[str, AnswerPair] = {}
    for row in read_rows(path):
        pair = AnswerPair(
            id=str(row.values.get("id") or row.number),
            concept=row.text("concept"),
            prompt=row.text("prompt"),
            prefix=row.text("prefix"),
            aligned=row.text("aligned"),
            misaligned=row.text("misaligned"),
        )
        if pair.aligned.startswith(pair.misaligned) or pair.misaligned.startswith(pair.aligned):
            raise DataError(f"{row.where}: one answer begins with the other; make them part")
        check_unused(pair.id, pairs, where=row.where)
        pairs[pair.id] = pair
    return list(pairs.values())


def bundled_answer_pairs() -> list[AnswerPair]:
    """Return the bundled pairs."""
    source = resources.files("spillover.data.suites") / "answer_pairs.jsonl"
    with resources.as_file(source) as path:
        return answer_pairs(path)
