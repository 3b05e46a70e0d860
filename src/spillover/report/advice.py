"""What to do next, as concrete steps that follow from the numbers."""

from collections.abc import Sequence

from spillover.records import Comparison
from spillover.report.certainty import (
    ALIGNED_AT_LEAST,
    PHRASE_JUDGES,
    high_over_refusal,
    invalid_models,
    mean_refusal_rate,
)
from spillover.report.chains import ALIGNED, Chain, chains
from spillover.report.changes import CAPABILITY_THRESHOLD, classify, units_needed
from spillover.report.headlines import (
    TARGET_AT_MOST,
    by_change,
    is_divided_target,
    is_eroded,
    removal,
)
from spillover.report.inputs import ReportInputs
from spillover.report.pooling import estimates, judges_by_metric
from spillover.report.seed_spread import share_of_seeds
from spillover.report.text import listing, number, words

RECOVERY_AT_LEAST = 0.6
"Recovery from which a containment counts as worth its price."


def advice(inputs: ReportInputs) -> list[str]:
    """Return the next steps, the most pressing first."""
    steps = [*_on_models(inputs)]
    for chain in chains(inputs):
        steps += [*_on_target(chain), *_on_containment(chain), *_on_undecided(chain)]
        steps += _on_capability(chain)
    steps += [*_on_verdicts(inputs), *_on_seeds(inputs)]
    return list(dict.fromkeys(steps))


def _on_models(inputs: ReportInputs) -> list[str]:
    found = estimates(inputs.scores)
    steps = []
    mean = mean_refusal_rate(inputs, found, model=ALIGNED)
    if mean is not None and mean < ALIGNED_AT_LEAST:
        steps.append(
            "Start from a model that refuses: give the safety training more steps or more prompts, "
            "or begin with a model that is aligned already."
        )
    if any(model == ALIGNED for model, _, _ in high_over_refusal(found)):
        steps.append(
            "Lower the aligned model's over-refusal before reading more into its refusals: put "
            "more benign prompts, look-alikes above all, into the safety training."
        )
    return steps


def _on_target(chain: Chain) -> list[str]:
    if removal(chain.target_unlearned) in ("kept", "unclear"):
        return [
            f"Unlearn {words(chain.target)} harder before judging its spillover: more steps, a "
            "higher learning rate, or more forget prompts."
        ]
    return []


def _on_containment(chain: Chain) -> list[str]:
    has_erosion = is_eroded(chain)
    if chain.contained is None or chain.recovery is None:
        return (
            [f"Add a containment for {words(chain.target)}: train with a retain set of the others."]
            if has_erosion and chain.contained is None
            else []
        )
    steps = [*_on_contained_target(chain)]
    left = [words(row.concept) for row in chain.erosion_left if row.flagged]
    value = chain.recovery.value
    if has_erosion and value is not None and (left or value < RECOVERY_AT_LEAST):
        where = f" with more prompts of {listing(left)} in the retain set" if left else ""
        steps.append(
            f"Contain {words(chain.target)} more strongly: raise the retain weight (w2) or the "
            f"retain share{where}."
        )
    return steps


def _on_contained_target(chain: Chain) -> list[str]:
    target, rate = words(chain.target), chain.target_contained
    if is_divided_target(rate):
        return [
            f"Containment for {target} removes the target in "
            f"{share_of_seeds(rate, at_most=TARGET_AT_MOST)}: measure each contained model by "
            "itself before you use it. To remove it in the others too, unlearn what containment "
            "left (contain.method: second_round, if it is not that already); to know the share "
            "better, train more seeds."
        ]
    remedy = "lower the retain weight (w2), train longer, or add forget prompts"
    match removal(rate):
        case "kept":
            return [f"Containment for {target} holds on to the target: {remedy}."]
        case "unclear":
            return [
                f"Whether containment for {target} removes the target is undecided: measure more "
                f"prompts or seeds. If it stays above {number(TARGET_AT_MOST)}, {remedy}."
            ]
        case _:
            return []


def _on_undecided(chain: Chain) -> list[str]:
    after = {f"unlearning {words(chain.target)}": chain.erosion}
    if chain.contained is not None:
        after[f"containing {words(chain.target)}"] = chain.erosion_left
    return [step for what, rows in after.items() for step in _more_units(what, rows, chain)]


def _more_units(what: str, compared: Sequence[Comparison], chain: Chain) -> list[str]:
    rows = by_change(compared, threshold=chain.threshold).get("undecided", [])
    if not rows:
        return []
    names = listing([words(row.concept) for row in rows])
    needed = max(units_needed(row, threshold=chain.threshold) or 0 for row in rows)
    now = min(row.n for row in rows)
    unit = "seeds" if rows[0].seed is None else "test prompts a concept"
    # A border case has too much interval for its n by rounding only.
    return [
        f"To decide on {names} after {what}, measure with about "
        f"{max(needed, now + 1)} {unit} (now {now})."
    ]


def _on_capability(chain: Chain) -> list[str]:
    rows = [row for row in chain.side_effects if row.metric == "capability"]
    steps = []
    fell = [words(row.after) for row in rows if row.ci_high is not None and row.ci_high < 0]
    if fell:
        steps.append(
            f"Capability fell under {listing(fell)}: lower the learning rate, train fewer steps, "
            "or put general text into the retain set."
        )
    undecided = [
        row for row in rows if classify(row, threshold=CAPABILITY_THRESHOLD) == "undecided"
    ]
    if undecided:
        needed = max(units_needed(row, threshold=CAPABILITY_THRESHOLD) or 0 for row in undecided)
        n = undecided[0].n
        size = "" if undecided[0].seed is None else f", about {max(needed, n + 1)} (now {n})"
        steps.append(
            f"To rule out a capability drop of {CAPABILITY_THRESHOLD}, ask more questions{size}: "
            "MMLU from a file, for example."
        )
    return steps


def _on_verdicts(inputs: ReportInputs) -> list[str]:
    steps = []
    if invalid_models(inputs, estimates(inputs.scores)):
        steps.append(
            "Judge again where verdicts are invalid: see their reasons in the verdicts folder, "
            "then mend the judge or take another."
        )
    judges = judges_by_metric(inputs.scores).get("refusal_rate", ())
    if judges and judges[0].startswith(PHRASE_JUDGES):
        steps.append(
            "Check the judge: read the sample completions below, label some 50 by hand, or judge "
            "the same completions with another judge."
        )
    return steps


def _on_seeds(inputs: ReportInputs) -> list[str]:
    if len({score.seed for score in inputs.scores}) == 1:
        return ["Repeat with three or more seeds before claiming it of the method."]
    return []
