"""What every part of a comparison of organisms gets: models, texts, states and settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spillover.analysis.directions import directions_of
from spillover.analysis.estimates import Estimate
from spillover.models.directions import Direction
from spillover.records import Record
from spillover.report.explanations import Claim, Outcome
from spillover.study.explaining.comparing.states import ModelStates
from spillover.study.explaining.comparing.texts import ComparedTexts
from spillover.study.explaining.models import NamedModel
from spillover.study.progress import Reporter

BASE = "base"
"What the model that all organisms come from is called."


@dataclass(frozen=True, kw_only=True)
class CompareSettings(Record):
    """How organisms are compared."""

    parts: tuple[str, ...] = ("convergence", "transfer", "refusal", "effects")
    layer: int | None = None
    "Whose directions are ablated and added; None for that of the refusal file, or half the depth."
    limit: int = 96
    "Texts of each kind, at most."
    max_tokens: int = 64
    "Answer tokens that are read."
    strengths: tuple[float, ...] = (-0.5, 0.5)
    "At which directions are added, in mean activation norms."
    n_random: int = 3
    "Random directions of the same length, the null of what is ablated and added."
    effects_in: tuple[str, ...] = (BASE,)
    "In which models both directions are ablated and added."
    spare_first_token: bool = False
    "Take out of all states what lies along that of the first token, which is far longer."
    batch_size: int = 16
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class CompareCase:
    """Everything that parts work on."""

    models: Mapping[str, NamedModel]
    "The base first, then the organisms."
    texts: ComparedTexts
    states: Mapping[str, ModelStates]
    settings: CompareSettings
    layer: int
    refusal: Direction
    "At `layer`, from a file or as a difference of means in the base."
    refusal_ids: tuple[int, ...]
    "First tokens of refusals."
    out: Path
    reporter: Reporter
    base: str = BASE
    "What the model that the others come from is called here."

    @property
    def organisms(self) -> list[str]:
        """Their names, in order."""
        return [name for name in self.models if name != self.base]

    def misalignment(self, name: str) -> Direction:
        """Return one model's misalignment direction at the layer."""
        found = directions_of(self.states[name].misalignment, name=name)
        return next(direction for direction in found if direction.layer == self.layer)


def outcome_outside(found: Estimate, low: float, high: float, *, p: float | None = None) -> Outcome:
    """Say whether an interval lies outside of what a null covers, on either side.

    Args:
        found: The estimate.
        low: Lower end of the null's range.
        high: Upper end.
        p: Of the null's own test, which has to be passed too.

    Example:
        >>> outcome_outside(Estimate(value=0.5, ci_low=0.4, ci_high=0.6), -0.1, 0.1)
        'holds'
        >>> outcome_outside(Estimate(value=0.0, ci_low=-0.05, ci_high=0.05), -0.1, 0.1)
        'does not hold'
        >>> outcome_outside(Estimate(value=0.1, ci_low=0.0, ci_high=0.2), -0.1, 0.1)
        'undecided'
    """
    is_outside = found.ci_low > high or found.ci_high < low
    if is_outside and (p is None or p <= 0.05):
        return "holds"
    is_inside = low <= found.ci_low and found.ci_high <= high
    return "does not hold" if is_inside else "undecided"


def estimate_claim(
    text: str,
    measured: str,
    found: Estimate | None,
    *,
    source: str,
    null: str,
    outcome: Outcome,
    p: float | None = None,
) -> Claim:
    """Put a claim together from an estimate; None where there is no value."""
    return Claim(
        source=source,
        claim=text,
        measured=measured,
        value=None if found is None else found.value,
        ci_low=None if found is None else found.ci_low,
        ci_high=None if found is None else found.ci_high,
        p=p,
        null=null,
        outcome=outcome,
    )


def band_text(low: float, high: float) -> str:
    """Return the range of a null in words.

    Example:
        >>> band_text(-0.123, 0.4)
        '-0.12 to 0.40'
    """
    return f"{low:.2f} to {high:.2f}"
