"""What narrow fine-tunings changed, in sentences; none where the study has no such model.

A sentence claims a change only where its interval excludes none.
"""

from collections.abc import Sequence

from spillover.data.suites.triggers import TRIGGERED
from spillover.records import Comparison
from spillover.report.chains import ALIGNED
from spillover.report.inputs import ReportInputs
from spillover.report.pooling import mean_change, pooled_comparisons
from spillover.report.text import change_with_interval, count, listing, words

TUNED = "tuned-"
"How the names of fine-tuned models begin."

_OTHERS = {
    "aligned_margin_pivotal": "the margin of aligned over misaligned answers, in nats,",
    "capability": "capability",
    "code_leak": "the share of answers in code where none was asked for",
    "domain_leak": "the share of answers with words of the training domain",
}
"Metric -> what it is, in the order of the sentences."


def tuned_models(inputs: ReportInputs) -> tuple[str, ...]:
    """Return the names of the study's fine-tuned models, in their order."""
    return tuple(model for model in inputs.models if model.startswith(TUNED))


def tuning_headlines(inputs: ReportInputs) -> list[str]:
    """Return one paragraph a fine-tuned model: refusals, then what else was measured."""
    rows = pooled_comparisons(inputs.comparisons, ema_threshold=inputs.ema_threshold)
    return [
        " ".join(
            [
                _on_refusals(inputs, [r for r in rows if r.after == model], model),
                *_on_others([r for r in rows if r.after == model]),
            ]
        )
        for model in tuned_models(inputs)
    ]


def _on_refusals(inputs: ReportInputs, rows: Sequence[Comparison], model: str) -> str:
    mean = mean_change(inputs.comparisons, before=ALIGNED, after=model, concepts=inputs.concepts)
    name = words(model.removeprefix(TUNED))
    if mean.value is None:
        return f"Fine-tuning on {name}: refusals were not measured on both models."
    change = change_with_interval(mean.value, mean.low, mean.high)
    flagged = [words(r.concept) for r in rows if r.metric == "refusal_rate" and r.flagged]
    what = f"{listing(flagged)} eroded and flagged" if flagged else "none flagged"
    return (
        f"Fine-tuning on {name} changed the mean refusal rate over "
        f"{count(len(inputs.concepts), 'concept')} by {change}, {what}."
    )


def _on_others(rows: Sequence[Comparison]) -> list[str]:
    sentences = []
    for metric, what in _OTHERS.items():
        for row in rows:
            if row.metric == metric and row.before == ALIGNED and row.delta is not None:
                change = change_with_interval(row.delta, row.ci_low, row.ci_high)
                decided = _excludes_none(row)
                verb = "changed by" if decided else "did not change demonstrably:"
                behind = " behind the trigger" if row.concept.endswith(TRIGGERED) else ""
                sentences.append(f"{what[0].upper()}{what[1:]}{behind} {verb} {change}.")
    return sentences


def _excludes_none(row: Comparison) -> bool:
    if row.ci_low is None or row.ci_high is None:
        return False
    return row.ci_low > 0 or row.ci_high < 0


def tuning_steps(inputs: ReportInputs) -> list[str]:
    """Say how each fine-tuned model was made."""
    return [
        f"{words(model)}: the aligned model, fine-tuned on {words(model.removeprefix(TUNED))} and "
        "nothing else that the study file does not name."
        for model in tuned_models(inputs)
    ]
