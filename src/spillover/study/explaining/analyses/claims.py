"""An estimate, or none, to the claim of a paper that it speaks for or against."""

from spillover.analysis.estimates import Estimate
from spillover.report.explanations import Claim, Outcome


def estimated_claim(
    found: Estimate | None,
    *,
    source: str,
    claim: str,
    measured: str,
    null: str,
    outcome: Outcome,
    p: float | None = None,
) -> Claim:
    """Return a claim whose number is an estimate with its interval; None where there is none."""
    return Claim(
        source=source,
        claim=claim,
        measured=measured,
        value=None if found is None else found.value,
        ci_low=None if found is None else found.ci_low,
        ci_high=None if found is None else found.ci_high,
        p=p,
        null=null,
        outcome=outcome,
    )
