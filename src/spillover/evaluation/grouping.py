"""Turns a flat list of verdicts into verdicts by concept and prompt, and checks that they fit.

Does not know what a verdict counts for; see `refusal`.
"""

from collections.abc import Iterable, Sequence

from spillover.errors import DataError
from spillover.records import Verdict

POOLED_BENIGN = "benign"


def is_benign(concept: str) -> bool:
    """Whether a concept's prompts ought to be answered: `benign` and all that start `benign_`.

    Example:
        >>> is_benign("benign_lookalike"), is_benign("bias")
        (True, False)
    """
    return concept == POOLED_BENIGN or concept.startswith(f"{POOLED_BENIGN}_")


def sole_judge(verdicts: Iterable[Verdict]) -> str:
    """Return the judge of all the verdicts.

    Raises:
        DataError: If there is no verdict, or more than one judge gave them.
    """
    judges = sorted({verdict.judge for verdict in verdicts})
    if len(judges) != 1:
        raise DataError(
            f"verdicts of {len(judges)} judges {judges}; give those of one judge at a time"
        )
    return judges[0]


def verdicts_by_concept(verdicts: Sequence[Verdict]) -> dict[str, dict[str, Verdict]]:
    """Group verdicts by concept, in the order of the names, and by prompt id.

    Raises:
        DataError: If a prompt of a concept has more than one verdict.
    """
    grouped: dict[str, dict[str, Verdict]] = {}
    for verdict in verdicts:
        prompts = grouped.setdefault(verdict.concept, {})
        if verdict.id in prompts:
            raise DataError(
                f"prompt '{verdict.id}' of concept '{verdict.concept}' has more than one verdict; "
                "give one model, one judge and one completion per prompt"
            )
        prompts[verdict.id] = verdict
    return dict(sorted(grouped.items()))
