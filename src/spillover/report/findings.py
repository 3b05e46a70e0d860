"""The study's answer in plain words, made from the numbers and never stronger than they are."""

from dataclasses import dataclass

from spillover.report.advice import advice
from spillover.report.certainty import certainty, mean_refusal_rate
from spillover.report.chains import ALIGNED, chains
from spillover.report.headlines import concept_changes, headline, side_effects
from spillover.report.inputs import ReportInputs
from spillover.report.pooling import estimates
from spillover.report.text import count, number
from spillover.report.tunings import tuning_headlines


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What happened, how sure it is, and what to do next."""

    headline: tuple[str, ...]
    "One paragraph per target concept."
    happened: tuple[str, ...]
    certainty: tuple[str, ...]
    next_steps: tuple[str, ...]


def findings(inputs: ReportInputs) -> Findings:
    """Return the answer in plain words.

    Args:
        inputs: The study's numbers.
    """
    found = chains(inputs)
    many = len(found) > 1
    happened = [
        f"{chain.unlearned}: {sentence[0].lower()}{sentence[1:]}" if many else sentence
        for chain in found
        for sentence in concept_changes(chain)
    ]
    return Findings(
        headline=(*(headline(chain) for chain in found), *tuning_headlines(inputs))
        or ("No unlearned model is in this study, so there is no spillover to report.",),
        happened=(*safety_training(inputs), *happened, *side_effects(found)),
        certainty=tuple(certainty(inputs)),
        next_steps=tuple(advice(inputs)),
    )


def safety_training(inputs: ReportInputs) -> list[str]:
    """Say how far the aligned model is from the base, where both were measured."""
    found = estimates(inputs.scores)
    base = mean_refusal_rate(inputs, found, model="base")
    aligned = mean_refusal_rate(inputs, found, model=ALIGNED)
    if base is None or aligned is None:
        return []
    return [
        f"From base to aligned, the mean refusal rate over "
        f"{count(len(inputs.concepts), 'concept')} went from {number(base)} to {number(aligned)}."
    ]
