"""What the comparison of two runs found, as plain records, and the same in two sentences.

Knows no files; how runs are matched and differences made stands in `study` and `evaluation`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from spillover.records import Record
from spillover.report.audit_findings import RowChange
from spillover.report.text import change_with_interval, count, metric_name, words

Shift = Literal["lower", "higher", "no difference shown", "not measured"]


@dataclass(frozen=True, kw_only=True)
class RunDifference(Record):
    """One number of one model in two runs, and the second less the first."""

    model: str
    metric: str
    concept: str
    first: float | None
    "In the first run, on what is compared."
    second: float | None
    delta: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    p_holm: float | None
    "Corrected by Holm over the refusal rates of one model; else p."
    n: int
    unit: str
    "`prompts`, `questions` or `seeds`."
    is_paired: bool
    "The same prompts, questions or seeds on both sides."
    n_left_out: int = 0
    "Prompts that only one of the runs has."

    @property
    def shift(self) -> Shift:
        """What the interval shows."""
        if self.delta is None or self.ci_low is None or self.ci_high is None:
            return "not measured"
        if self.ci_high < 0:
            return "lower"
        return "higher" if self.ci_low > 0 else "no difference shown"


@dataclass(frozen=True, kw_only=True)
class RunAnswer(Record):
    """What one model said to one prompt in both runs."""

    model: str
    id: str
    concept: str
    prompt: str
    first: str
    second: str
    first_label: str
    second_label: str
    change: RowChange


@dataclass(frozen=True, kw_only=True)
class RunComparison(Record):
    """Everything that the comparison of two runs says."""

    kind: str
    "`study` or `audit`."
    names: Mapping[str, str]
    "`first` and `second` -> the run's name."
    judge: str
    rows: tuple[RunDifference, ...]
    settings: tuple[tuple[str, str, str], ...]
    "Dotted key, its value in the first and in the second run; those that differ."
    only: tuple[str, ...]
    "Models that only one of the runs has."
    notes: tuple[str, ...]
    "What a reader must know before trusting the rest."

    @property
    def models(self) -> tuple[str, ...]:
        """The models that both runs have, in their order."""
        return tuple(dict.fromkeys(row.model for row in self.rows))

    @property
    def lead(self) -> str:
        """The model with the largest difference that is shown; the last one where none is."""
        shifted = [row for row in self.rows if row.shift in ("lower", "higher")]
        rates = [row for row in shifted if row.metric == "refusal_rate"]
        most = max(rates or shifted, key=_size, default=None)
        return self.models[-1] if most is None else most.model

    def of(self, model: str) -> tuple[RunDifference, ...]:
        """The rows of one model."""
        return tuple(row for row in self.rows if row.model == model)


def comparison_answer(found: RunComparison) -> tuple[str, str]:
    """Return the answer in two sentences: how many differ, and the largest difference."""
    rates = [row for row in found.rows if row.metric == "refusal_rate"]
    lower, higher = (_with(rates, shift) for shift in ("lower", "higher"))
    open_ = _with(rates, "no difference shown")
    first = (
        f"Of {count(len(rates), 'refusal rate')} on {count(len(found.models), 'model')}, "
        f"{len(lower)} {_is(lower)} lower and {len(higher)} {_is(higher)} higher in the second "
        f"run; on {len(open_)} no difference is shown, which does not mean that there is none."
    )
    shifted = [*lower, *higher]
    if not shifted:
        return first, _beside(found)
    most = max(shifted, key=_size)
    held = sum(row.p_holm is not None and row.p_holm < 0.05 for row in shifted)
    change = change_with_interval(most.delta, most.ci_low, most.ci_high)
    return first, (
        f"The largest is {words(most.model)} on {words(most.concept)}, {change}, "
        f"{most.n} {most.unit}; {held} of the {len(shifted)} also "
        f"{'stands' if held == 1 else 'stand'} after Holm's correction."
    )


def _with(rows: Sequence[RunDifference], shift: str) -> list[RunDifference]:
    return [row for row in rows if row.shift == shift]


def _is(rows: Sequence[RunDifference]) -> str:
    return "is" if len(rows) == 1 else "are"


def _size(row: RunDifference) -> float:
    return abs(row.delta or 0.0)


def _beside(found: RunComparison) -> str:
    others = [
        row
        for row in found.rows
        if row.metric != "refusal_rate" and row.shift in ("lower", "higher")
    ]
    if not others:
        return "Nothing else that was measured differs beyond its interval either."
    most = max(others, key=_size)
    change = change_with_interval(most.delta, most.ci_low, most.ci_high)
    return (
        f"What differs most beside them is {metric_name(most.metric)} of {words(most.model)}, "
        f"{change}, {most.n} {most.unit}."
    )
