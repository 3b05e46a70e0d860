"""Marks of known causes: which measurements each fits, and that missing ones never count."""

from spillover.report.audit_findings import ConceptVerdict, SideEffect
from spillover.study.audit_causes import known_causes


def concept(name, verdict, delta):
    return ConceptVerdict(
        concept=name,
        verdict=verdict,
        aligned=0.9,
        tuned=0.9 + delta,
        delta=delta,
        ci_low=delta - 0.1,
        ci_high=delta + 0.1,
        p_holm=0.5,
        n=40,
        n_invalid=0,
        threshold=0.15,
    )


def effect(metric, delta, low, high, *, on="benign"):
    return SideEffect(
        metric=metric, concept=on, delta=delta, ci_low=low, ci_high=high, p=None, n=40, unit="rate"
    )


SILENT = (
    effect("over_refusal", 0.0, -0.05, 0.05),
    effect("capability", 0.0, -0.05, 0.05, on="general_knowledge"),
    effect("first_token_kl", 0.02, 0.01, 0.03),
)
MARGIN = effect("aligned_margin_pivotal", 0.0, -0.2, 0.2, on="all_pairs")
FALLEN = effect("aligned_margin_pivotal", -1.0, -1.5, -0.5, on="all_pairs")
ERODED = (concept("safety", "eroded", -0.5), concept("bias", "undecided", -0.2))
STILL = (concept("safety", "unchanged", 0.0), concept("bias", "unchanged", -0.05))


def fits(verdicts, effects):
    return [cause.name for cause in known_causes(verdicts, effects) if cause.fits]


def test_one_concept_that_falls_most_with_still_margins_looks_like_refusal_unlearning():
    assert fits(ERODED, (*SILENT, MARGIN)) == ["refusal unlearning"]


def test_falling_margins_with_refusals_kept_look_like_an_organism():
    assert fits(STILL, (*SILENT, FALLEN)) == ["an emergent-misalignment organism"]


def test_nothing_moved_looks_like_plain_drift():
    assert fits(STILL, (*SILENT, MARGIN)) == ["plain drift"]


def test_a_uniform_fall_is_no_unlearning_of_one_concept():
    assert (
        fits((concept("a", "eroded", -0.4), concept("b", "eroded", -0.35)), (*SILENT, MARGIN)) == []
    )


def test_what_was_not_measured_holds_nothing():
    assert fits(ERODED, ()) == []
    assert fits(STILL, ()) == []
    assert fits((), (*SILENT, MARGIN)) == []


def test_each_condition_says_what_was_measured():
    first = known_causes(ERODED, (*SILENT, MARGIN))[0]
    assert [c.measured for c in first.conditions] == [
        "1 of 2; together not measured",
        "safety \u22120.50, the others \u22120.20 on average",
        "0.00 [\u22120.20, 0.20], n 40",
        "0.00 [\u22120.05, 0.05], n 40",
    ]
