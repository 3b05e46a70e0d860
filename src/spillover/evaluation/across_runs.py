"""Turns what one model said in two runs into differences, prompt by prompt where they are the same.

Prompts are matched by their text, as the same id may stand for another prompt in another file.
Knows no files and no studies.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from spillover.errors import DataError
from spillover.evaluation.comparisons import compare_refusals
from spillover.evaluation.grouping import sole_judge, verdicts_by_concept
from spillover.evaluation.refusal import is_refusal
from spillover.records import Comparison, Completion, Record, Verdict
from spillover.stats import unpaired_difference

SHARED = 0.5
"Share of the smaller set that must be in the other one for a concept to be compared in pairs."


@dataclass(frozen=True, kw_only=True)
class Judged(Record):
    """One completion with a judge's verdict on it."""

    completion: Completion
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class RunChange(Record):
    """How one model of one run differs from that of another run on one concept."""

    comparison: Comparison
    "The second run less the first."
    is_paired: bool
    "False where too few prompts are the same, and the two sets are compared as separate ones."
    first: float | None
    "Rate in the first run on the prompts that are compared; None where none is valid."
    second: float | None
    n_left_out: int
    "Prompts of either run that the other one does not have; 0 where they are not paired."


def compare_runs(
    first: Sequence[Judged],
    second: Sequence[Judged],
    *,
    seed: int | None,
    metric: str = "refusal_rate",
    deflection_is_refusal: bool = True,
) -> list[RunChange]:
    """Change in the rate of refusals from one run to another, concept by concept.

    A concept is compared on the prompts that both runs have, with the interval and test of
    `compare_refusals`, where those are at least half of the smaller set. Else all of its prompts
    are compared as two separate sets (Newcombe's method 10 and Fisher's exact test). Concepts that
    one of the runs lacks are left out. No row is flagged, and p is not corrected.

    Args:
        first: What the model said in the first run.
        second: The same in the second run, by the same judge.
        seed: Filed with the rows.
        metric: Name the rows are filed under.
        deflection_is_refusal: Whether changing the subject counts as a refusal or a compliance.

    Raises:
        DataError: If the runs share no concept, or were judged by different judges.
    """
    sole_judge([row.verdict for row in (*first, *second)])
    sides = [verdicts_by_concept([_by_text(row) for row in _numbered(s)]) for s in (first, second)]
    concepts = sorted(set(sides[0]) & set(sides[1]))
    if not concepts:
        raise DataError(
            f"the runs share no concept: {', '.join(sorted(sides[0]))} against "
            f"{', '.join(sorted(sides[1]))}"
        )
    return [
        _change(
            list(sides[0][concept].values()),
            list(sides[1][concept].values()),
            seed=seed,
            metric=metric,
            deflection_is_refusal=deflection_is_refusal,
        )
        for concept in concepts
    ]


def _numbered(rows: Sequence[Judged]) -> list[tuple[Judged, int]]:
    """Number the prompts that come more than once in a concept."""
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for row in rows:
        key = (row.completion.concept, row.completion.prompt)
        found.append((row, seen[key]))
        seen[key] += 1
    return found


def _by_text(numbered: tuple[Judged, int]) -> Verdict:
    row, number = numbered
    return replace(row.verdict, id=f"{number}:{row.completion.prompt}")


def _change(
    before: list[Verdict],
    after: list[Verdict],
    *,
    seed: int | None,
    metric: str,
    deflection_is_refusal: bool,
) -> RunChange:
    ids = [{verdict.id for verdict in side} for side in (before, after)]
    shared = ids[0] & ids[1]
    is_paired = len(shared) >= SHARED * min(map(len, ids)) and bool(shared)
    if not is_paired:
        refused = [_refused(side, deflection_is_refusal) for side in (before, after)]
        row = _separate(*refused, like=before[0], metric=metric, seed=seed)
        return RunChange(
            comparison=row,
            is_paired=False,
            first=_rate(refused[0]),
            second=_rate(refused[1]),
            n_left_out=0,
        )
    (row,) = compare_refusals(
        before,
        after,
        before="first",
        after="second",
        seed=-1 if seed is None else seed,
        metric=metric,
        deflection_is_refusal=deflection_is_refusal,
    )
    both = _valid_on_both(before, after, deflection_is_refusal)
    return RunChange(
        comparison=replace(row, flagged=False, p_holm=None, seed=seed),
        is_paired=True,
        first=_rate([was for was, _ in both]),
        second=_rate([now for _, now in both]),
        n_left_out=len(ids[0] ^ ids[1]),
    )


def _refused(verdicts: Sequence[Verdict], deflection_is_refusal: bool) -> list[bool]:
    found = [is_refusal(v, deflection_is_refusal=deflection_is_refusal) for v in verdicts]
    return [outcome for outcome in found if outcome is not None]


def _valid_on_both(
    before: Sequence[Verdict], after: Sequence[Verdict], deflection_is_refusal: bool
) -> list[tuple[bool, bool]]:
    now = {v.id: is_refusal(v, deflection_is_refusal=deflection_is_refusal) for v in after}
    pairs = [
        (is_refusal(v, deflection_is_refusal=deflection_is_refusal), now.get(v.id)) for v in before
    ]
    return [(a, b) for a, b in pairs if a is not None and b is not None]


def _rate(outcomes: Sequence[bool]) -> float | None:
    return sum(outcomes) / len(outcomes) if outcomes else None


def _separate(
    before: Sequence[bool],
    after: Sequence[bool],
    *,
    like: Verdict,
    metric: str,
    seed: int | None,
) -> Comparison:
    found = unpaired_difference(before, after) if before and after else None
    return Comparison(
        before="first",
        after="second",
        metric=metric,
        concept=like.concept,
        delta=None if found is None else found.delta,
        ci_low=None if found is None else found.ci_low,
        ci_high=None if found is None else found.ci_high,
        p=None if found is None else found.p,
        p_holm=None,
        flagged=False,
        n=min(len(before), len(after)),
        seed=seed,
    )
