"""What an audit says in sentences: the answer in two, and what to do next."""

from collections.abc import Sequence

from spillover.report.audit_findings import AuditFindings, ConceptVerdict, SideEffect
from spillover.report.text import change_with_interval, count, listing, number, words


def answer(findings: AuditFindings) -> tuple[str, str]:
    """Return the answer in two sentences: what happened, and what the gate says."""
    return _what_happened(findings), _what_gate_says(findings)


def _what_happened(findings: AuditFindings) -> str:
    eroded, rose = findings.of("eroded"), findings.of("rose")
    undecided, unchanged = findings.of("undecided"), findings.of("unchanged")
    n = len(findings.verdicts)
    parts = []
    if eroded:
        worst = min(eroded, key=_delta)
        change = change_with_interval(worst.delta, worst.ci_low, worst.ci_high)
        parts.append(
            f"refusals eroded on {len(eroded)} of {count(n, 'concept')}, most on "
            f"{words(worst.concept)} ({change}, n {worst.n})"
        )
    if rose:
        parts.append(f"they rose on {listing([words(row.concept) for row in rose])}")
    if undecided:
        parts.append(f"{count(len(undecided), 'concept')} could not be decided")
    if unchanged:
        which = "all" if len(unchanged) == n else str(len(unchanged))
        parts.append(f"{which} of {count(n, 'concept')} stayed within the threshold")
    if together := _together(findings.overall):
        parts.insert(0, together)
    text = "; ".join(parts) or "no concept was measured"
    return f"{text[0].upper()}{text[1:]}."


def _together(row: ConceptVerdict | None) -> str:
    """Say what all concepts together did, where that is decided."""
    if row is None or row.verdict == "undecided":
        return ""
    change = change_with_interval(row.delta, row.ci_low, row.ci_high)
    if row.verdict == "unchanged":
        within = f"refusals changed by less than {row.threshold:g}"
        return f"over all concepts together {within} ({change}, n {row.n})"
    verb = "fell" if row.verdict == "eroded" else "rose"
    rates = f"from {number(row.aligned)} to {number(row.tuned)}"
    return f"refusals {verb} over all concepts together {rates} ({change}, n {row.n})"


def _delta(row: ConceptVerdict) -> float:
    return 0.0 if row.delta is None else row.delta


def _what_gate_says(findings: AuditFindings) -> str:
    failed = [check.name for check in findings.checks if check.outcome == "failed"]
    undecided = [check.name for check in findings.checks if check.outcome == "undecided"]
    n = count(len(findings.checks), "check")
    if not findings.passed:
        counted = failed + (undecided if findings.on_undecided == "fail" else [])
        return f"The gate does not pass: {len(counted)} of {n} failed ({_named(counted)})."
    if undecided:
        return (
            f"The gate passes, but {len(undecided)} of {n} could not be decided with so few "
            "prompts, which is no proof of safety."
        )
    return f"The gate passes on all of {n}."


def _named(checks: Sequence[str]) -> str:
    """Name the checks, those of more than three single concepts by their number."""
    concepts = [name for name in checks if name.startswith(_EROSION_OF)]
    others = [words(name) for name in checks if not name.startswith(_EROSION_OF)]
    if len(concepts) > 3:
        return listing([*others, f"{_EROSION_OF}{len(concepts)} single concepts"])
    return listing([*others, *map(words, concepts)])


def advise(
    verdicts: Sequence[ConceptVerdict],
    effects: Sequence[SideEffect],
    *,
    budget: str,
    preference_fell: bool,
) -> tuple[str, ...]:
    """Return what to do next, the most pressing first; each step follows from a verdict.

    Args:
        verdicts: On all concepts.
        effects: What else changed.
        budget: That the audit was run with.
        preference_fell: Whether aligned endings are shown to be preferred less often.
    """
    steps = [
        *_on_eroded(verdicts),
        *_on_preference(preference_fell=preference_fell),
        *_on_effects(effects),
    ]
    steps += _on_undecided(verdicts, budget=budget)
    return tuple(steps) or (
        "Nothing to contain was found. Keep the audit beside the release, and audit again after "
        "the next training.",
    )


_EROSION_OF = "erosion of "
"What the checks of single concepts begin with."
_TOGETHER = "all_concepts"
"What all concepts together are filed under."


def _on_eroded(verdicts: Sequence[ConceptVerdict]) -> list[str]:
    rows = [row for row in verdicts if row.verdict == "eroded"]
    if not rows:
        return []
    single = [words(row.concept) for row in rows if row.concept != _TOGETHER]
    n = sum(row.concept != _TOGETHER for row in verdicts)
    every = not single or len(single) == n > 1
    eroded = "every concept" if every else listing(single)
    return [
        f"Do not release as it is where refusals on {'any concept' if every else eroded} matter. "
        f"Train again with refusals of {eroded} in the retain set and about a quarter benign "
        "prompts (docs/guard.md; examples/contain_finetune.py), and audit what comes of it.",
        "Watch the next training with AlignmentGuard: it sees refusals fall before the end and can "
        "go back to the last good step.",
    ]


def _on_preference(*, preference_fell: bool) -> list[str]:
    if not preference_fell:
        return []
    return [
        "Misaligned endings are preferred more often than before: look at the training data for "
        "narrow harm (insecure code, bad advice), and put open questions to the model with a "
        "grader (`spillover evaluate --suite em_main --grader ...`)."
    ]


def _on_effects(effects: Sequence[SideEffect]) -> list[str]:
    steps = []
    if any(e.metric == "over_refusal" and e.ci_low > 0 for e in effects):
        steps.append(
            "Over-refusal rose: put more benign prompts, look-alikes above all, into the training."
        )
    if any(e.metric == "code_leak" and e.ci_low > 0 for e in effects):
        steps.append(
            "Answers turn to code where none was asked for: mix ordinary conversation into the "
            "training, and look at what the code was."
        )
    if any(e.metric == "capability" and e.ci_high < 0 for e in effects):
        steps.append(
            "Capability fell: lower the learning rate, train fewer steps, or mix general text in."
        )
    return steps


def _on_undecided(verdicts: Sequence[ConceptVerdict], *, budget: str) -> list[str]:
    rows = [row for row in verdicts if row.verdict == "undecided"]
    if not rows:
        return []
    known = [row.more_prompts for row in rows if row.more_prompts is not None]
    needed = f" with about {max(known)} more prompts a concept" if known else ""
    larger = {"quick": "--budget standard", "standard": "--budget full"}.get(budget)
    how = f" ({larger}, or --prompts FILE)" if larger else " (--prompts FILE)"
    names = listing([words(row.concept) for row in rows])
    return [f"To decide on {names}, measure again{needed}{how}."]
