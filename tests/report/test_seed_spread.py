"""Containments that are all or nothing between seeds are told as such, never as their mean."""

from dataclasses import replace

from spillover.report.findings import findings
from spillover.report.page import render_page
from spillover.report.pooling import estimates
from spillover.report.seed_spread import is_divided, seeds_differ, spread_sentences
from tests.report.studies import change, score, study


def seeds(*target, concept="safety", model="contained-safety"):
    """The small study in which one model's rate on one concept is these numbers, a seed each."""
    kept = [r for r in study().scores if (r.model, r.concept) != (model, concept)]
    many = [replace(row, seed=seed) for row in kept for seed in range(len(target))]
    rows = [score(model, concept, value, seed=seed) for seed, value in enumerate(target)]
    return study(scores=(*many, *rows))


def rate(inputs, model="contained-safety", concept="safety"):
    return estimates(inputs.scores)[model, "refusal_rate", concept]


def said(inputs):
    found = findings(inputs)
    return "\n".join((*found.headline, *found.certainty, *found.next_steps))


def test_seeds_differ_where_their_intervals_do_not_meet():
    # Every interval is 0.08 either way: 0.10 and 0.26 touch, 0.10 and 0.27 do not.
    assert not seeds_differ(rate(seeds(0.10, 0.26)))
    assert seeds_differ(rate(seeds(0.10, 0.27)))
    assert not seeds_differ(rate(study()))


def test_a_rate_is_divided_only_where_a_limit_lies_between_seeds_that_differ():
    assert is_divided(rate(seeds(0.72, 0.62, 0.03)), at_most=0.3)
    assert not is_divided(rate(seeds(0.35, 0.28, 0.25)), at_most=0.3)
    assert not is_divided(rate(seeds(0.72, 0.32, 0.5)), at_most=0.3)


def test_a_containment_that_is_all_or_nothing_is_told_seed_by_seed():
    text = said(seeds(0.72, 0.62, 0.03))
    assert (
        "whether it keeps the target removed differs from seed to seed: 0.46 [0.00, 1.00] in the "
        "mean, 0.72, 0.62 and 0.03 by seed; removed in 1 of 3 seeds [0.06, 0.79]."
    ) in text
    assert "contained-safety: seeds differ by more than their prompts explain on safety" in text
    assert "contain.method: second_round" in text
    assert "holds on to the target" not in text


def test_a_good_mean_of_unlike_seeds_is_no_success():
    # The mean is 0.29, below the limit of 0.30; one seed in three has lost the target.
    text = said(seeds(0.07, 0.72, 0.07))
    assert "kept the target at" not in text
    assert "removed in 2 of 3 seeds [0.21, 0.94]" in text


def test_an_unlearning_that_took_in_some_seeds_only_says_so():
    inputs = seeds(0.8, 0.0, 0.0, model="unlearned-safety")
    assert "in the mean, but not in every seed (0.80, 0.00 and 0.00 by seed" in said(inputs)


def test_seeds_that_agree_are_told_by_their_mean():
    text = said(seeds(0.2, 0.25, 0.21))
    assert "and kept the target at 0.22 [0.15, 0.29]." in text
    assert "seed to seed" not in text
    assert "seeds differ" not in text


def test_concepts_on_which_seeds_differ_are_named_with_their_range():
    inputs = seeds(0.9, 0.3, 0.8, concept="bias")
    (sentence,) = spread_sentences(
        estimates(inputs.scores), models=inputs.models, concepts=inputs.concepts
    )
    assert "on bias (0.30 to 0.90), so the mean there describes no single training." in sentence


def test_an_undecided_target_of_one_seed_is_not_said_to_be_held_on_to():
    rows = [r for r in study().scores if (r.model, r.concept) != ("contained-safety", "safety")]
    text = said(study(scores=(*rows, score("contained-safety", "safety", 0.35))))
    assert "Whether containment for safety removes the target is undecided" in text


def test_the_page_shows_each_seed_where_seeds_differ_and_only_there():
    page = render_page(seeds(0.72, 0.62, 0.03))
    # In the summary, in the table of rates, and not in the row of any other model.
    assert page.count("seeds 0.72, 0.62 and 0.03") == 2
    assert "a stroke on it a single seed" in page
    assert "seeds 0." not in render_page(seeds(0.2, 0.25, 0.21))


def test_what_stays_open_under_containment_is_said_and_priced():
    rows = [r for r in study().comparisons if r.after != "contained-safety"]
    wide = change("bias", -0.1, half_width=0.2, after="contained-safety")
    inputs = study(comparisons=(*rows, replace(wide, seed=None, n=3)))
    assert "contained-safety: bias is undecided" in said(inputs)
    # 0.2 = t(2) s / sqrt(3) is brought to 0.1 = t(4) s / sqrt(5).
    assert "To decide on bias after containing safety, measure with about 5 seeds (now 3)" in said(
        inputs
    )


def test_a_flag_under_containment_is_held_against_holm_too():
    rows = [r for r in study().comparisons if (r.after, r.concept) != ("contained-safety", "bias")]
    left = change("bias", -0.4, after="contained-safety", p_holm=0.2)
    assert "contained-safety: what is flagged does not stand after Holm's correction" in said(
        study(comparisons=(*rows, left))
    )
