"""Containments compared: means over seeds, the front, what to choose, and what the page shows."""

from dataclasses import replace

import pytest

from spillover.report.containment_figures import containment_figures
from spillover.report.containments import ContainmentRow, Cost, choices, containment_results
from spillover.report.figure_tables import figure_tables
from spillover.report.page import render_page
from tests.report.studies import study


def row(name, *, seed=0, effect=0.7, recovery=0.5, over_refusal=0.0, loss=0.0, **changes):
    values = {
        "name": name,
        "method": "retain_loss",
        "target_concept": "safety",
        "model": f"contained_{name}-safety" if name else "contained-safety",
        "seed": seed,
        "plain_effect": 0.8,
        "effect": effect,
        "recovery": recovery,
        "gain": None if not name else recovery - 0.5,
        "over_refusal": over_refusal,
        "capability_loss": loss,
        "retain_seen": 800,
    }
    for metric in ("effect", "recovery", "gain", "over_refusal", "capability_loss"):
        value = values[metric]
        values[f"{metric}_low"] = None if value is None else value - 0.05
        values[f"{metric}_high"] = None if value is None else value + 0.05
    return ContainmentRow(**{**values, **changes})


def results(*rows, costs=None):
    return containment_results(rows, costs or {})


def test_with_one_seed_values_and_intervals_are_those_of_the_row():
    (found,) = results(row(""))
    assert [found.effect.value, found.effect.low, found.effect.high] == pytest.approx(
        [0.7, 0.65, 0.75]
    )
    assert found.kept == pytest.approx(0.875)  # 0.7 / 0.8
    assert (found.title, found.number, found.n_seeds) == ("contain", 1, 1)
    assert (found.seconds, found.peak_gib) == (None, None)


def test_over_seeds_the_mean_has_a_t_interval_and_costs_are_averaged():
    rows = [row("a", seed=seed, recovery=value) for seed, value in enumerate((0.4, 0.6))]
    costs = {
        ("contained_a-safety", seed): Cost(
            seconds=100.0 * (seed + 1), peak_bytes=2**30 * (seed + 1)
        )
        for seed in (0, 1)
    }
    (found,) = results(*rows, costs=costs)
    assert found.recovery.value == pytest.approx(0.5)
    # 0.5 +/- 12.706 * 0.1, cut at 1.
    assert found.recovery.low == pytest.approx(0.5 - 1.2706, abs=1e-4)
    assert found.recovery.high == 1.0
    assert (found.seconds, found.peak_gib) == (150.0, 2.0)


def test_the_front_holds_what_no_other_beats_at_everything():
    found = results(
        row(""),
        row("better", effect=0.75, recovery=0.6),
        row("spares", effect=0.3, recovery=0.9),
        row("refuses", effect=0.75, recovery=0.6, over_refusal=0.2),
    )
    assert [r.title for r in found if r.is_on_front] == ["better", "spares"]


def test_the_order_of_rows_changes_numbers_but_not_the_front_or_the_choice():
    rows = [row(""), row("a", effect=0.75, recovery=0.6), row("b", recovery=0.9)]
    for given in (rows, rows[::-1]):
        found = results(*given)
        assert {r.title for r in found if r.is_on_front} == {"a", "b"}
        chosen = [c.result and c.result.title for c in choices(found)]
        # b keeps 0.7 / 0.8 of the effect only; a keeps 0.94 and recovers just enough.
        assert chosen == ["a", "a", "a", None]


def test_what_loses_the_target_is_not_chosen_to_spare_the_others():
    found = results(row("", effect=0.78), row("holds", effect=0.2, recovery=0.99))
    spare = choices(found)[0]
    assert (spare.result.title, spare.rivals) == ("contain", ())


def test_a_wish_excludes_over_refusal_and_lost_capability():
    found = results(
        row("refuses", effect=0.8, recovery=0.9, over_refusal=0.1),
        row("forgets", effect=0.8, recovery=0.8, loss=0.1),
        row("harmless", effect=0.8, recovery=0.65),
    )
    most, harmless, _, _ = choices(found)
    assert (most.result.title, harmless.result.title) == ("refuses", "harmless")
    assert choices(results(row("refuses", effect=0.8, over_refusal=0.1)))[1].result is None


def test_those_whose_intervals_overlap_are_named_beside_the_best():
    near = results(row("a", effect=0.8, recovery=0.80), row("b", effect=0.8, recovery=0.78))
    far = results(row("a", effect=0.8, recovery=0.80), row("b", effect=0.8, recovery=0.60))
    assert (choices(near)[0].rivals, choices(far)[0].rivals) == (("b",), ())


def test_the_cheapest_that_recovers_enough_is_chosen_by_time():
    rows = [row(n, effect=0.8, recovery=r) for n, r in (("slow", 0.9), ("fast", 0.7), ("no", 0.2))]
    costs = {
        (r.model, 0): Cost(seconds=s, peak_bytes=None)
        for r, s in zip(rows, (300.0, 30.0, 3.0), strict=True)
    }
    cheap = choices(results(*rows, costs=costs))[3]
    assert (cheap.result.title, cheap.rivals) == ("fast", ())


def test_a_method_that_was_not_measured_is_off_the_front_and_never_chosen():
    unknown = row("unknown", effect=0.8)
    gone = {f"recovery{end}": None for end in ("", "_low", "_high")}
    found = results(row(""), replace(unknown, **gone))
    assert [r.is_on_front for r in found] == [True, False]
    assert choices(found)[0].result is None  # The main one keeps 0.875 of the effect only.


def test_each_target_has_its_figure_with_all_numbers_in_words_and_in_its_table():
    found = results(row(""), row("a", recovery=0.9), row("", target_concept="bias"))
    figures = containment_figures(found)
    assert list(figures) == ["containments-safety", "containments-bias"]
    assert "2 a: recovery 0.90, effect 0.70, on the front" in figures["containments-safety"]
    table = figure_tables(study(containments=found))["containments-safety"]
    assert [(r["number"], r["containment"], r["recovery"]) for r in table] == [
        (1, "contain", 0.5),
        (2, "a", 0.9),
    ]


def test_the_page_shows_the_table_and_the_choice_only_where_there_are_several():
    assert "Containments compared" not in render_page(study())
    found = results(row(""), row("a", effect=0.8, recovery=0.9, method="safe_grad"))
    page = render_page(study(containments=found))
    assert "Containments compared" in page
    assert "safe grad" in page
    assert "Which to choose" in page
    assert "another seed may order the methods otherwise" in page
