"""What an explanation says, as plain records: claims with their nulls, exhibits, and tables.

Knows no models and no files; whoever ran the analyses fills these in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from spillover.records import Record

Outcome = Literal["holds", "does not hold", "undecided"]
OUTCOMES: tuple[Outcome, ...] = ("holds", "does not hold", "undecided")
Widget = Literal["tokens", "matrices", "bars"]


@dataclass(frozen=True, kw_only=True)
class Claim(Record):
    """One claim of a paper, and whether it holds on these models and data."""

    source: str
    "Paper and section, such as `2507.03662, 4.3`."
    claim: str
    measured: str
    "What the number is, in words."
    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    p: float | None = None
    null: str
    "What the number is held against."
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Exhibit(Record):
    """One figure, with a sentence for what it shows and one for what it does not."""

    name: str
    "Of the figure's files; unique within an explanation."
    title: str
    shows: str
    shows_not: str
    widget: Widget | None = None
    "How a reader may explore it on a page with scripts; None for a still picture."
    data: Mapping[str, Any] | None = None
    "What the widget draws."

    @property
    def caption(self) -> str:
        """The sentences that go with the figure wherever it is shown."""
        return f"{self.title}. Shows: {self.shows} Does not show: {self.shows_not}"


@dataclass(frozen=True, kw_only=True)
class ExplainedPart(Record):
    """What one analysis found."""

    name: str
    title: str
    question: str
    "What it asks, in one sentence."
    claims: tuple[Claim, ...]
    exhibits: tuple[Exhibit, ...]
    rows: tuple[Mapping[str, Any], ...]
    "Every number, as a tidy table."
    notes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "ExplainedPart":
        """Build the record from what `to_dict` gave, through JSON."""
        return cls(
            **{name: found[name] for name in ("name", "title", "question")},
            claims=tuple(Claim.from_dict(row) for row in found["claims"]),
            exhibits=tuple(Exhibit.from_dict(row) for row in found["exhibits"]),
            rows=tuple(found["rows"]),
            notes=tuple(found["notes"]),
        )


@dataclass(frozen=True, kw_only=True)
class Explanation(Record):
    """Everything that the page of an explanation says."""

    title: str
    models: Mapping[str, str]
    "Role -> what was loaded."
    data: tuple[str, ...]
    "What the models were read on, one line a set."
    parts: tuple[ExplainedPart, ...]
    left_out: tuple[str, ...]
    "Analyses that could not be run, each with what they lack."
    settings: Mapping[str, Any]


def outcome_above(
    low: float | None, high: float | None, *, limit: float = 0.0, p: float | None = None
) -> Outcome:
    """Say whether an interval shows a value above a limit, and a test if there is one.

    Args:
        low: Lower end of the interval; None where there is none.
        high: Upper end.
        limit: What the value is claimed to exceed.
        p: Of a test that the claim has to pass too, at 0.05.

    Example:
        >>> outcome_above(0.1, 0.3), outcome_above(-0.3, -0.1), outcome_above(-0.1, 0.1)
        ('holds', 'does not hold', 'undecided')
        >>> outcome_above(0.1, 0.3, p=0.4)
        'undecided'
    """
    if low is None or high is None:
        return "undecided"
    if high <= limit:
        return "does not hold"
    if low > limit and (p is None or p <= 0.05):
        return "holds"
    return "undecided"
