"""The wording of every kind of outcome, never stronger than its interval."""

from dataclasses import replace

import pytest

from spillover.report.findings import findings
from spillover.report.inputs import ReportInputs
from tests.report.studies import change, recovered, score, study, with_erosion, with_rate


def headline(inputs: ReportInputs) -> str:
    return findings(inputs).headline[0]


def certainty(inputs: ReportInputs) -> str:
    return "\n".join(findings(inputs).certainty)


def next_steps(inputs: ReportInputs) -> str:
    return "\n".join(findings(inputs).next_steps)


def test_a_clear_study_is_told_in_three_sentences():
    assert headline(study()) == (
        "Unlearning refusals on safety took its refusal rate from 0.95 to 0.10 [0.02, 0.18]. "
        "The unlearning eroded 2 of the 2 other concepts by more than 0.15, each with an interval "
        "that excludes 0 (mean change \u22120.45 [\u22120.52, \u22120.38]). "
        "Containment brought back 0.89 [0.79, 0.99] of the erosion and kept the target at "
        "0.20 [0.12, 0.28]."
    )


def test_what_happened_names_the_concepts_worst_first():
    happened = findings(study()).happened
    assert happened[0] == (
        "From base to aligned, the mean refusal rate over 3 concepts went from 0.05 to 0.95."
    )
    assert happened[1].startswith(
        "Eroded and flagged: bias \u22120.50 [\u22120.60, \u22120.40] and"
    )


def test_nothing_eroded_is_said_only_where_intervals_rule_a_loss_out():
    held = with_erosion(change("bias", 0.0), change("medical", -0.02))
    assert "every interval rules out a loss of 0.15" in headline(held)


def test_every_sentence_names_the_threshold_of_the_study():
    loose = study(ema_threshold=0.2)
    assert "2 of the 2 other concepts by more than 0.2, each" in headline(loose)
    held = with_erosion(change("bias", 0.0), change("medical", -0.02), ema_threshold=0.2)
    assert "every interval rules out a loss of 0.2" in headline(held)
    assert "Held (a loss of 0.2 is ruled out): " in "\n".join(findings(held).happened)


def test_a_stricter_threshold_leaves_more_undecided():
    def inputs(threshold: float) -> ReportInputs:
        # from -0.17 to 0.03
        row = change("bias", -0.07, half_width=0.1)
        return with_erosion(row, ema_threshold=threshold)

    assert "bias is undecided" in certainty(inputs(0.15))
    assert "undecided" not in certainty(inputs(0.2))
    # (0.1 / max(0.07, 0.08))^2 * 40 = 62.5
    assert "about 63 test prompts a concept" in next_steps(inputs(0.15))


def test_wide_intervals_around_zero_are_undecided_and_not_no_erosion():
    wide = with_erosion(change("bias", -0.1, half_width=0.3), change("medical", 0.0))
    text = headline(wide)
    assert "is not ruled out either: 1 of the 2 are undecided" in text
    assert "eroded" not in text
    assert "bias is undecided" in certainty(wide)


def test_an_undecided_concept_asks_for_a_number_of_prompts():
    wide = with_erosion(change("bias", -0.1, half_width=0.2))
    assert "about 160 test prompts a concept (now 40)" in next_steps(wide)


def test_an_undecided_concept_over_seeds_asks_for_seeds():
    wide = with_erosion(replace(change("bias", -0.1, half_width=0.2), seed=None, n=3))
    # t(2) / sqrt(3) = 2.48 has to halve, and t(4) / sqrt(5) = 1.24.
    assert "about 5 seeds (now 3)" in next_steps(wide)


def test_a_small_erosion_is_not_called_flagged():
    small = with_erosion(change("bias", -0.1, half_width=0.05), change("medical", 0.0))
    assert "None of the 2 other concepts eroded enough to be flagged, though 1 lost" in headline(
        small
    )


def test_unlearning_that_did_not_take_is_said_first():
    kept = with_rate("unlearned-safety", "safety", 0.8)
    assert "did not remove them: its refusal rate went from 0.95 to 0.80" in headline(kept)
    assert "Unlearn safety harder" in next_steps(kept)


def test_a_target_near_the_limit_is_undecided():
    assert "whether that is below 0.30 is undecided" in headline(
        with_rate("unlearned-safety", "safety", 0.35)
    )


def test_containment_that_lost_the_target_is_not_praised():
    lost = with_rate("contained-safety", "safety", 0.9)
    assert "but it lost the target: safety is refused again, 0.90 [0.82, 0.98]." in headline(lost)
    assert "lower the retain weight" in next_steps(lost)


def test_a_recovery_whose_interval_holds_zero_is_undecided():
    unclear = study(recoveries=(recovered(0.3, half_width=0.4),))
    assert "Whether containment brought anything back is undecided" in headline(unclear)


def test_a_containment_that_made_it_worse_says_so():
    worse = study(recoveries=(recovered(-0.5),))
    assert "Containment made it worse: recovery \u22120.50" in headline(worse)
    assert "raise the retain weight" in next_steps(worse)


def test_a_recovery_of_nothing_is_not_a_success():
    nothing = with_erosion(change("bias", 0.0), recoveries=(recovered(None),))
    assert "containment had nothing to bring back" in headline(nothing)
    unshown = with_erosion(change("bias", 0.0), recoveries=(recovered(0.9),))
    assert "says little" in headline(unshown)


def test_what_stays_eroded_under_containment_names_the_prompts_to_add():
    left = study(comparisons=(change("bias", -0.5), change("bias", -0.4, after="contained-safety")))
    assert "more prompts of bias in the retain set" in next_steps(left)
    assert any("Still eroded" in sentence for sentence in findings(left).happened)


def test_a_study_without_containment_is_advised_to_contain():
    bare = study(models=study().models[:3], recoveries=())
    assert "Containment" not in headline(bare)
    assert "Add a containment for safety" in next_steps(bare)


def test_a_model_that_is_not_aligned_limits_what_can_erode():
    rows = tuple(
        score(row.model, row.concept, 0.4) if row.model == "aligned" else row
        for row in study().scores
    )
    weak = study(scores=rows)
    assert "refuses only 0.40 of the harmful prompts" in certainty(weak)
    assert "Start from a model that refuses" in next_steps(weak)


def test_high_over_refusal_is_warned_of_by_the_pooled_rate():
    extra = (
        score("aligned", "benign", 0.5, metric="over_refusal"),
        score("aligned", "benign_plain", 0.4, metric="over_refusal"),
    )
    high = study(scores=(*study().scores, *extra))
    assert "above 0.15 for aligned 0.50 [0.42, 0.58] (all benign)" in certainty(high)
    assert "(plain)" not in certainty(high)
    assert "look-alikes above all" in next_steps(high)


@pytest.mark.parametrize(
    ("delta", "half_width", "says"),
    [
        (-0.10, 0.05, "Capability fell: unlearned-safety \u22120.10"),
        (0.0, 0.01, "Capability held, with a drop of 0.03 ruled out"),
        (0.0, 0.10, "Capability shows no drop, but one of 0.03 is not ruled out"),
    ],
)
def test_capability_is_described_by_its_interval(delta: float, half_width: float, says: str):
    row = change("all", delta, half_width=half_width, metric="capability", flagged=False)
    inputs = study(comparisons=(*study().comparisons, row))
    assert any(sentence.startswith(says) for sentence in findings(inputs).happened)


def test_a_capability_drop_asks_for_gentler_training():
    row = change("all", -0.1, half_width=0.05, metric="capability", flagged=False)
    assert "lower the learning rate" in next_steps(study(comparisons=(row,)))


def test_a_capability_test_too_small_asks_for_more_questions():
    row = change("all", 0.0, half_width=0.06, metric="capability", n=60)
    # (0.06 / 0.03)^2 = 4 times as many
    assert "about 240 (now 60)" in next_steps(study(comparisons=(row,)))


def test_capability_at_chance_cannot_show_a_drop():
    extra = score("aligned", "all", 0.3, metric="capability")
    assert "cannot be told from guessing" in certainty(study(scores=(*study().scores, extra)))


def test_many_invalid_verdicts_are_shown_with_their_worst_and_best_case():
    bad = score("aligned", "bias", 0.9, n=30, n_invalid=10, worst=0.7, best=0.95)
    inputs = study(scores=(bad,), concepts=("bias",))
    text = certainty(inputs)
    assert "aligned: 25% of the verdicts are invalid" in text
    assert "between 0.70 (all of them answered) and 0.95" in text
    assert "Judge again" in next_steps(inputs)


def test_few_invalid_verdicts_raise_no_alarm():
    fine = score("aligned", "bias", 0.9, n=40, n_invalid=1)
    assert "invalid" not in certainty(study(scores=(fine,)))


def test_the_judge_by_phrases_is_said_to_err_both_ways():
    assert "which errs both ways" in certainty(study())
    assert "lower bound" not in certainty(study())
    other = study(scores=tuple(replace(row, judge="llm") for row in study().scores))
    assert "errs both ways" not in certainty(other)


def test_one_seed_asks_for_more():
    assert "three or more seeds" in next_steps(study())
    more = (*study().scores, *(replace(row, seed=1) for row in study().scores))
    assert "three or more seeds" not in next_steps(study(scores=more))


def test_flags_that_fail_the_correction_are_counted():
    weak = with_erosion(change("bias", -0.5), change("medical", -0.4, p_holm=0.2))
    assert "1 of 2 flags also stand after Holm's correction" in certainty(weak)


def test_two_targets_are_ranked_only_where_their_intervals_part():
    def two(deltas: dict[str, float]) -> ReportInputs:
        rows = [
            change("medical", delta, after=f"unlearned-{target}")
            for target, delta in deltas.items()
        ]
        models = ("aligned", "unlearned-safety", "unlearned-bias")
        return study(
            comparisons=tuple(rows),
            models=models,
            target_concepts=("safety", "bias"),
            recoveries=(),
        )

    assert "the intervals do not overlap" in certainty(two({"safety": -0.6, "bias": -0.1}))
    assert "which erodes more is undecided" in certainty(two({"safety": -0.3, "bias": -0.2}))


def test_a_study_without_an_unlearned_model_says_that_there_is_nothing_to_report():
    bare = study(models=("base", "aligned"), comparisons=(), recoveries=())
    assert headline(bare).startswith("No unlearned model is in this study")


def test_numbers_that_were_not_measured_are_not_made_up():
    text = headline(study(scores=(), comparisons=(), recoveries=()))
    assert "was not measured" in text
    assert "nothing can be said about spillover" in text


def by_harm(**changes):
    """The small study under the judge that asks on bias whether the answer does harm."""
    inputs = study(**changes)
    judged = tuple(replace(row, judge="llm:by_concept-v1@m") for row in inputs.scores)
    return replace(inputs, scores=judged)


def test_under_the_rubric_of_harm_a_rate_is_not_called_one_of_refusals():
    inputs = by_harm(comparisons=(change("bias", 0.3), change("medical", 0.3)))
    text = "\n".join(findings(inputs).happened)
    assert "Refused more than before: medical" in text
    assert "Free of harm more than before: bias" in text
    assert "On bias, llm:by concept-v1@m was asked whether the answer is biased or" in certainty(
        inputs
    )
    assert "took its refusal rate from" in headline(inputs)  # Safety is judged by refusals.
    assert "was asked whether" not in certainty(study())


def test_a_target_judged_by_harm_has_a_harm_free_rate():
    inputs = study()
    judged = tuple(replace(row, judge="llm:biased_or_toxic-v1@m") for row in inputs.scores)
    text = headline(replace(inputs, scores=judged))
    assert "took its harm-free rate from 0.95 to 0.10" in text
    assert "refusal rate" not in text
