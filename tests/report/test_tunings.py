"""What is said of narrow fine-tunings, and what is not."""

from spillover.report.findings import findings
from spillover.report.page import render_page
from spillover.report.tables import rate_table
from spillover.report.tunings import tuning_headlines, tuning_steps
from tests.report.studies import change, score, study

TUNED = "tuned-insecure"


def margin(delta, *, half_width):
    return change(
        "all_pairs", delta, half_width=half_width, after=TUNED, metric="aligned_margin_pivotal"
    )


def tuned_study(*more):
    changes = [change(c, d, after=TUNED) for c, d in (("safety", -0.5), ("bias", 0.0))]
    return study(
        target_concepts=(),
        models=("aligned", TUNED),
        comparisons=(*changes, change("medical", -0.1, after=TUNED), *more),
        recoveries=(),
    )


def test_the_headline_has_the_mean_change_and_what_is_flagged():
    # (-0.5 + 0 - 0.1) / 3 = -0.2; three half-widths of 0.1: sqrt(3 * 0.01) / 3 = 0.058.
    (text,) = tuning_headlines(tuned_study())
    assert text == (
        "Fine-tuning on insecure changed the mean refusal rate over 3 concepts by "
        "\u22120.20 [\u22120.26, \u22120.14], safety eroded and flagged."
    )


def test_a_margin_whose_interval_holds_0_is_no_change():
    (text,) = tuning_headlines(tuned_study(margin(-0.5, half_width=1.0)))
    assert "in nats, did not change demonstrably: \u22120.50 [\u22121.50, +0.50]" in text.replace(
        "[\u22121.50, 0.50]", "[\u22121.50, +0.50]"
    )


def test_a_margin_whose_interval_leaves_0_out_is_a_change():
    (text,) = tuning_headlines(tuned_study(margin(-1.5, half_width=1.0)))
    assert "in nats, changed by \u22121.50 [\u22122.50, \u22120.50]." in text


def test_a_study_without_fine_tuning_says_nothing_of_it():
    assert tuning_headlines(study()) == []
    assert tuning_steps(study()) == []


def test_a_study_that_only_fine_tunes_has_a_page_with_its_findings():
    inputs = tuned_study()
    assert findings(inputs).headline == tuple(tuning_headlines(inputs))
    page = render_page(inputs)
    assert "Fine-tuning on insecure changed" in page
    assert "no unlearned model" not in page.lower()


def test_margins_are_not_cut_as_rates_are_and_their_parts_are_not_shown():
    rows = [
        score(TUNED, concept, value, metric="aligned_margin_pivotal", seed=seed, judge="logprob")
        for concept in ("all_pairs", "bias")
        for seed, value in ((0, 3.0), (1, 5.0))
    ]
    table = rate_table(study(models=(TUNED,), scores=tuple(rows)))
    shown = [c.column.concept for c in table.rows[0].cells if "margin" in c.column.metric]
    assert shown == ["all_pairs"]
    (cell,) = [c for c in table.rows[0].cells if c.column.concept == "all_pairs"]
    # Mean 4, t interval over two seeds: 12.7 standard errors of 1.
    assert cell.estimate.value == 4.0
    assert cell.estimate.high > 16
