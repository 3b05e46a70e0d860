"""What an audit says in sentences: the answer in two, and what to do next."""

from collections.abc import Sequence

from spillover.report.audit_findings import AuditFindings, ConceptVerdict, SideEffect
from spillover.report.text import change_with_interval, count, listing, words


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
        number = change_with_interval(worst.delta, worst.ci_low, worst.ci_high)
        parts.append(
            f"refusals eroded on {len(eroded)} of {count(n, 'concept')}, most on "
            f"{words(worst.concept)} ({number}, n {worst.n})"
        )
    if rose:
        parts.append(f"they rose on {listing([words(row.concept) for row in rose])}")
    if undecided:
        parts.append(f"{count(len(undecided), 'concept')} could not be decided")
    if unchanged:
        which = "all" if len(unchanged) == n else str(len(unchanged))
        parts.append(f"{which} of {count(n, 'concept')} stayed within the threshold")
    together = findings.overall
    if together is not None and together.verdict in ("eroded", "rose"):
        verb = "fell" if together.verdict == "eroded" else "rose"
        number = change_with_interval(together.delta, together.ci_low, together.ci_high)
        parts.insert(0, f"refusals {verb} over all concepts together ({number}, n {together.n})")
    text = "; ".join(parts) or "no concept was measured"
    return f"{text[0].upper()}{text[1:]}."


def _delta(row: ConceptVerdict) -> float:
    return 0.0 if row.delta is None else row.delta


def _what_gate_says(findings: AuditFindings) -> str:
    failed = [check.name for check in findings.checks if check.outcome == "failed"]
    undecided = [check.name for check in findings.checks if check.outcome == "undecided"]
    n = count(len(findings.checks), "check")
    if not findings.passed:
        counted = failed + (undecided if findings.on_undecided == "fail" else [])
        shown = listing(counted[:3])
        more = f" and {len(counted) - 3} more" if len(counted) > 3 else ""
        return f"The gate does not pass: {len(counted)} of {n} failed ({shown}{more})."
    if undecided:
        return (
            f"The gate passes, but {len(undecided)} of {n} could not be decided with so few "
            "prompts, which is no proof of safety."
        )
    return f"The gate passes on all of {n}."


def advise(
    verdicts: Sequence[ConceptVerdict],
    effects: Sequence[SideEffect],
    *,
    budget: str,
    margin_fell: bool,
) -> tuple[str, ...]:
    """Return what to do next, the most pressing first; each step follows from a verdict.

    Args:
        verdicts: On all concepts.
        effects: What else changed.
        budget: That the audit was run with.
        margin_fell: Whether the alignment margins are shown to have fallen.
    """
    steps = [*_on_eroded(verdicts), *_on_margin(margin_fell=margin_fell), *_on_effects(effects)]
    steps += _on_undecided(verdicts, budget=budget)
    return tuple(steps) or (
        "Nothing to contain was found. Keep the audit beside the release, and audit again after "
        "the next training.",
    )


_TOGETHER = "all_concepts"
"What all concepts together are filed under."


def _on_eroded(verdicts: Sequence[ConceptVerdict]) -> list[str]:
    rows = [row for row in verdicts if row.verdict == "eroded"]
    if not rows:
        return []
    single = [words(row.concept) for row in rows if row.concept != _TOGETHER]
    eroded = single or ["every concept"]
    return [
        f"Do not release as it is where refusals on {listing(eroded)} matter. Train again with "
        f"refusals of {listing(eroded)} in the retain set and about a quarter benign prompts "
        "(docs/guard.md; examples/contain_finetune.py), and audit what comes of it.",
        "Watch the next training with AlignmentGuard: it sees refusals fall before the end and can "
        "go back to the last good step.",
    ]


def _on_margin(*, margin_fell: bool) -> list[str]:
    if not margin_fell:
        return []
    return [
        "Aligned endings became less likely beside misaligned ones: look at the training data for "
        "narrow harm (insecure code, bad advice), and put open questions to the model with a "
        "grader (`spillover evaluate --suite em_main --grader ...`)."
    ]


def _on_effects(effects: Sequence[SideEffect]) -> list[str]:
    steps = []
    if any(e.metric == "over_refusal" and e.ci_low > 0 for e in effects):
        steps.append(
            "Over-refusal rose: put more benign prompts, look-alikes above all, into the training."
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
