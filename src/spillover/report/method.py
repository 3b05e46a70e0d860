"""What was done, in words: which models were made and what each was asked."""

from spillover.report.chains import ALIGNED, model_names
from spillover.report.inputs import ReportInputs
from spillover.report.pooling import Estimate, estimates, judges_by_metric
from spillover.report.text import concept_title, count, listing, words
from spillover.report.tunings import tuning_steps


def method_steps(inputs: ReportInputs) -> tuple[str, ...]:
    """Return the study as a list of steps, one sentence each."""
    steps = [*_model_steps(inputs), *_measure_steps(inputs)]
    n_seeds = len({score.seed for score in inputs.scores})
    if n_seeds > 1:
        steps.append(f"All of it was done {n_seeds} times, with one seed each.")
    return tuple(steps)


def _model_steps(inputs: ReportInputs) -> list[str]:
    steps = []
    if "base" in inputs.models:
        steps.append("base: the model as it was given.")
    if ALIGNED in inputs.models:
        steps.append("aligned: the model whose refusals the study starts from.")
    for target in inputs.target_concepts:
        unlearned, contained = model_names(target)
        if unlearned in inputs.models:
            steps.append(
                f"{words(unlearned)}: the aligned model, trained to unlearn its refusals on "
                f"{words(target)} and nothing else."
            )
        if contained in inputs.models:
            steps.append(
                f"{words(contained)}: the same unlearning while a retain set of other prompts "
                "holds the rest in place."
            )
    return [*steps, *tuning_steps(inputs)]


def _measure_steps(inputs: ReportInputs) -> list[str]:
    found = estimates(inputs.scores)
    steps = []
    refusals = _of_metric(found, "refusal_rate")
    if refusals:
        judge = judges_by_metric(inputs.scores)["refusal_rate"][0]
        steps.append(
            f"Refusal: every model answered the test prompts of {_listed(inputs.concepts)} "
            f"({_range(refusals)} a concept), and each answer was judged by {words(judge)}."
        )
    benign = _of_metric(found, "over_refusal")
    if benign:
        sets = dict.fromkeys(concept_title(c) for _, m, c in found if m == "over_refusal")
        steps.append(
            f"Over-refusal: benign prompts were put to the same test ({_listed(tuple(sets))})."
        )
    questions = _of_metric(found, "capability")
    if questions:
        n = max(estimate.n for estimate in questions)
        steps.append(
            f"Capability: {count(n, 'multiple-choice question')}, answered by log-probability."
        )
    return steps


def _of_metric(found: dict[tuple[str, str, str], Estimate], metric: str) -> list[Estimate]:
    return [estimate for (_, name, _), estimate in found.items() if name == metric]


def _listed(names: tuple[str, ...]) -> str:
    return listing([words(name) for name in names])


def _range(rates: list[Estimate]) -> str:
    low, high = min(e.n for e in rates), max(e.n for e in rates)
    return f"{low} valid answers" if low == high else f"{low} to {high} valid answers"
