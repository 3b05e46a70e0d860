"""Turns what an audit's models said, from their files, into scores and paired comparisons.

Rates and intervals are those of `evaluation`; here they are only brought together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from spillover.evaluation import compare_refusals, over_refusal_scores, refusal_scores
from spillover.evaluation.grouping import POOLED_BENIGN, is_benign
from spillover.evaluation.leaks import (
    code_leak_score,
    compare_leaks,
    is_code,
    without_code_prompts,
)
from spillover.files import read_journal
from spillover.judges.validity import commonest_fault, validity_fault
from spillover.records import Answer, Comparison, Completion, Score, Verdict
from spillover.report.audit_findings import AuditRow, SideEffect, row_change
from spillover.seeding import numpy_generator
from spillover.study.artifacts import (
    RunFolder,
    load_answer_file,
    load_completion_file,
    load_verdict_file,
)
from spillover.study.audit.behaviour import FORM, margins_file
from spillover.study.audit.causes import CODE_LEAK
from spillover.study.audit.gate import OVERALL
from spillover.study.audit.models import Side
from spillover.study.audit.verdicts import pool_concepts

if TYPE_CHECKING:  # torch is imported by what asks models.
    from spillover.evaluation.alignment_probes import PairMargin


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one model said, and what became of it."""

    role: str
    completions: tuple[Completion, ...]
    verdicts: tuple[Verdict, ...]
    answers: tuple[Answer, ...]
    margins: "tuple[PairMargin, ...]"
    "Empty where a server has the model."

    @property
    def harmful(self) -> list[Verdict]:
        """Verdicts on prompts of concepts."""
        return [verdict for verdict in self.verdicts if not is_benign(verdict.concept)]

    @property
    def benign(self) -> list[Verdict]:
        """Verdicts on benign prompts."""
        return [verdict for verdict in self.verdicts if is_benign(verdict.concept)]


def load_said(side: Side, folder: RunFolder, *, judge: str) -> Said:
    """Read what one model said; all of its steps are done."""
    from spillover.evaluation.alignment_probes import PairMargin

    margins = read_journal(margins_file(folder, side.role)) if side.is_local else []
    return Said(
        role=side.role,
        completions=tuple(load_completion_file(folder.completions(side.role))),
        verdicts=tuple(load_verdict_file(folder.verdicts(side.role, judge))),
        answers=tuple(load_answer_file(folder.answers(side.role))) if side.is_local else (),
        margins=tuple(PairMargin.from_dict(row) for row in margins),
    )


def scores_of(said: Said, *, seed: int) -> list[Score]:
    """Return one model's rates, accuracy and margins."""
    from spillover.evaluation.alignment_probes import probe_scores
    from spillover.evaluation.capability import capability_score

    rows = refusal_scores(said.harmful, model=said.role, seed=seed)
    rows += over_refusal_scores(said.benign, model=said.role, seed=seed)
    if without_code_prompts(said.completions):
        rows.append(code_leak_score(said.completions, model=said.role, seed=seed))
    if said.answers:
        rows.append(capability_score(said.answers, model=said.role, seed=seed))
    return [*rows, *probe_scores(said.margins, form=FORM, model=said.role, seed=seed)]


def compare_said(
    before: Said,
    after: Said,
    *,
    seed: int,
    threshold: float,
    exempt: frozenset[str] = frozenset(),
) -> list[Comparison]:
    """Compare two models on everything that both were asked.

    Args:
        before: The earlier model.
        after: The later one.
        seed: Of the draws, and of the margins' permutation test.
        threshold: Erosion from which a row is flagged.
        exempt: Concepts that the comparison over all concepts leaves out.

    Raises:
        DataError: If they share no prompt.
    """
    from spillover.evaluation.capability import compare_capability

    compare = partial(
        compare_refusals,
        before=before.role,
        after=after.role,
        seed=seed,
        ema_threshold=threshold,
    )
    rows = compare(before.harmful, after.harmful)
    pooled = [pool_concepts(side.harmful, exempt=exempt) for side in (before, after)]
    if all(pooled):
        rows += compare(*pooled, metric=OVERALL)
    if before.benign:
        for one, other in (
            (before.benign, after.benign),
            (_pooled(before.benign), _pooled(after.benign)),
        ):
            rows += compare(one, other, metric="over_refusal")
    if before.answers and after.answers:
        rows.append(
            compare_capability(
                before.answers,
                after.answers,
                before_name=before.role,
                after_name=after.role,
                seed=seed,
            )
        )
    return [*rows, *_code_leak(before, after, seed=seed), *_margins(before, after, seed=seed)]


def _code_leak(before: Said, after: Said, *, seed: int) -> list[Comparison]:
    """Code in answers to prompts that ask for none, as narrow fine-tunes on code give it."""
    was, now = (without_code_prompts(side.completions) for side in (before, after))
    if not was or not now:
        return []
    row = compare_leaks(
        was, now, is_code, metric=CODE_LEAK, before=before.role, after=after.role, seed=seed
    )
    return [row]


def _pooled(verdicts: Sequence[Verdict]) -> list[Verdict]:
    # Ids are unique within a set, not over both.
    return [replace(v, concept=POOLED_BENIGN, id=f"{v.concept}/{v.id}") for v in verdicts]


def _margins(before: Said, after: Said, *, seed: int) -> list[Comparison]:
    from spillover.evaluation.alignment_probes import compare_margins, compare_preferences

    if len(before.margins) < 2 or len(after.margins) < 2:
        return []
    margins = partial(
        compare_margins, rng=numpy_generator(seed, "audit", "margins", before.role, after.role)
    )
    return [
        compare(
            before.margins,
            after.margins,
            form=FORM,
            before_name=before.role,
            after_name=after.role,
            seed=seed,
        )
        for compare in (margins, compare_preferences)
    ]


def side_effects(rows: Sequence[Comparison]) -> list[SideEffect]:
    """Return the comparisons beside the refusals for which something valid was measured."""
    return [
        SideEffect(
            metric=row.metric,
            concept=row.concept,
            delta=row.delta,
            ci_low=row.ci_low,
            ci_high=row.ci_high,
            p=row.p,
            n=row.n,
            unit="nats" if row.metric.startswith("aligned_margin") else "rate",
        )
        for row in rows
        if row.metric not in ("refusal_rate", OVERALL)
        and row.delta is not None
        and row.ci_low is not None
        and row.ci_high is not None
    ]


def audit_rows(aligned: Said, tuned: Said) -> list[AuditRow]:
    """Put both models' answers to each prompt side by side, benign prompts last."""
    said = {(c.concept, c.id): c for c in tuned.completions}
    labels = [{(v.concept, v.id): v.label for v in side.verdicts} for side in (aligned, tuned)]
    rows = []
    for before in sorted(aligned.completions, key=lambda said: is_benign(said.concept)):
        key = (before.concept, before.id)
        first, second = labels[0][key], labels[1][key]
        rows.append(
            AuditRow(
                id=before.id,
                concept=before.concept,
                prompt=before.prompt,
                aligned=before.response,
                tuned=said[key].response,
                aligned_label=first,
                tuned_label=second,
                change=row_change(first, second),
            )
        )
    return rows


def reading_notes(aligned: Said, tuned: Said, *, are_same: bool, budget: str) -> tuple[str, ...]:
    """Return what a reader must know before trusting the rest.

    Args:
        aligned: The model before tuning.
        tuned: The same after it.
        are_same: Whether the two are the same files.
        budget: That the audit was run with.
    """
    found = []
    if are_same:
        found.append("The aligned and the tuned model are one and the same, byte for byte.")
    for one in (aligned, tuned):
        n_invalid = sum(verdict.label == "invalid" for verdict in one.verdicts)
        if fault := validity_fault(n_invalid=n_invalid, n=len(one.verdicts)):
            found.append(f"{one.role}: {fault}; mostly: {commonest_fault(one.verdicts)}")
    refused = sum(v.label in ("refusal", "deflection") for v in aligned.harmful)
    if refused < len(aligned.harmful) / 2:
        found.append(
            f"The aligned model refuses {refused} of {len(aligned.harmful)} harmful prompts: where "
            "little is refused, little can erode."
        )
    if budget == "full":
        found.append(
            "Budget full asks the bundled training prompts too; a model that was trained on them "
            "looks safer on those than it is."
        )
    return tuple(found)
