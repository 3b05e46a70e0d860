"""From comparisons to rows, to means over seeds, to the front: all worked by hand."""

import pytest

from spillover.files import write_json
from spillover.records import Comparison
from spillover.study.artifacts import RunFolder
from spillover.study.sweep.points import SweepPoint
from spillover.study.sweep.results import SweepRow, summarise, sweep_rows


def comparison(concept, delta, *, metric="refusal_rate", after="unlearned-safety", seed=0, **more):
    return Comparison(
        **{
            "before": "aligned",
            "after": after,
            "metric": metric,
            "concept": concept,
            "delta": delta,
            "ci_low": None,
            "ci_high": None,
            "p": None,
            "p_holm": None,
            "flagged": False,
            "n": 8,
            "seed": seed,
            **more,
        }
    )


def row(point, seed, effect, erosion, *, model="unlearned-safety", capability=0.0):
    return SweepRow(
        point=point,
        settings={"unlearn.steps": int(point)},
        model=model,
        seed=seed,
        target_effect=effect,
        erosion=erosion,
        capability_loss=capability,
        over_refusal=None,
    )


def cell(rows, point, metric, *, model="unlearned-safety"):
    (found,) = [r for r in rows if (r.point, r.metric, r.model) == (point, metric, model)]
    return found


def test_the_row_of_a_run_by_hand(tmp_path):
    folder = RunFolder(tmp_path)
    rows = [
        comparison("safety", -0.75, is_target=True),
        comparison("bias", -0.5),
        comparison("privacy", 0.25),  # A rise is no erosion, and takes none away.
        comparison("toxicity", None),  # Nothing valid: left out of the mean.
        comparison("general_knowledge", -0.02, metric="capability"),
        comparison("benign", 0.125, metric="over_refusal"),
        comparison("benign_plain", 0.9, metric="over_refusal"),
        comparison("bias", -0.9, seed=None),
        comparison("bias", -0.9, before="base"),
    ]
    write_json(folder.comparisons, [found.to_dict() for found in rows])
    (found,) = sweep_rows(SweepPoint(name="p", settings={"a": 1}), folder)
    assert (found.model, found.seed, found.settings) == ("unlearned-safety", 0, {"a": 1})
    assert found.target_effect == 0.75
    assert found.erosion == pytest.approx((0.5 + 0) / 2)
    assert found.capability_loss == pytest.approx(0.02)
    assert found.over_refusal == pytest.approx(0.125)


def test_the_effect_of_a_fine_tuning_is_the_fall_of_its_margin(tmp_path):
    folder = RunFolder(tmp_path)
    margin = {"metric": "aligned_margin_pivotal", "after": "tuned-code"}
    rows = [
        comparison("all_pairs", -1.5, **margin),
        comparison("all_pairs_triggered", -9.0, **margin),
        comparison("all_pairs", -7.0, **{**margin, "metric": "aligned_margin_choice"}),
        comparison("bias", -0.5, after="tuned-code"),
        # Refusals that cannot be compared give no effect, whatever the margin did.
        comparison("safety", None, is_target=True),
        comparison("all_pairs", -1.5, metric="aligned_margin_pivotal"),
    ]
    write_json(folder.comparisons, [found.to_dict() for found in rows])
    found = {r.model: r for r in sweep_rows(SweepPoint(name="p", settings={}), folder)}
    assert (found["tuned-code"].target_effect, found["tuned-code"].erosion) == (1.5, 0.5)
    assert found["unlearned-safety"].target_effect is None


def test_means_and_differences_have_the_seed_as_their_unit():
    rows = [row("10", 0, 0.4, 0.1), row("10", 1, 0.6, 0.1), row("20", 0, 0.8, 0.1)]
    rows.append(row("20", 1, 0.9, 0.1))
    summary = summarise(rows)
    first, second = (cell(summary, point, "target_effect") for point in ("10", "20"))
    # Seeds 0.4 and 0.6: mean 0.5, standard error 0.1, t = 12.706.
    assert (first.mean, first.n) == (0.5, 2)
    assert (first.ci_low, first.ci_high) == pytest.approx((0.5 - 1.2706, 0.5 + 1.2706), abs=1e-4)
    assert first.difference is None
    # Differences by seed 0.4 and 0.3: mean 0.35, standard error 0.05.
    assert second.difference == pytest.approx(0.35)
    assert second.difference_low == pytest.approx(0.35 - 12.706 * 0.05, abs=1e-4)
    assert second.p == second.p_holm
    # All seeds alike say nothing of how seeds vary.
    assert cell(summary, "10", "erosion").ci_low is None
    assert cell(summary, "20", "over_refusal").mean is None


def test_one_seed_has_a_mean_and_neither_interval_nor_difference():
    summary = summarise([row("10", 0, 0.4, 0.1), row("20", 0, 0.8, 0.2)])
    found = cell(summary, "20", "target_effect")
    assert (found.mean, found.n, found.ci_low, found.difference, found.p) == (0.8, 1) + (None,) * 3


def test_differences_of_many_points_are_corrected():
    rows = [
        row(p, s, e + s * 0.1 + (p == "30") * s * 0.02, 0.0)
        for p, e in (("10", 0.1), ("20", 0.4), ("30", 0.5))
        for s in (0, 1, 2)
    ]
    # Seed by seed 20 is 0.3 above 10 every time, which gives no p; 30 alone has one.
    found = cell(summarise(rows), "30", "target_effect")
    assert found.p is not None
    assert found.p_holm == found.p


def test_the_front_is_over_points_and_models_of_one_target():
    rows = [
        row("10", 0, 0.9, 0.5),
        row("20", 0, 0.9, 0.6),  # More erosion for the same effect.
        row("10", 0, 0.8, 0.1, model="contained-safety"),
        row("20", 0, 0.7, 0.2, model="contained-safety"),
        row("20", 0, 0.1, 0.9, model="unlearned-bias"),  # The only one of its target.
    ]
    summary = summarise(rows)
    front = {(found.model, found.point) for found in summary if found.is_on_front}
    assert front == {
        ("unlearned-safety", "10"),
        ("contained-safety", "10"),
        ("unlearned-bias", "20"),
    }


def test_capability_keeps_a_weaker_point_on_the_front():
    rows = [row("10", 0, 0.9, 0.1, capability=0.2), row("20", 0, 0.5, 0.1, capability=0.0)]
    assert all(found.is_on_front for found in summarise(rows))
    without = [row("10", 0, 0.9, 0.1, capability=None), row("20", 0, 0.5, 0.1, capability=None)]
    front = {found.point for found in summarise(without) if found.is_on_front}
    assert front == {"10"}


def test_nothing_finished_gives_an_empty_summary():
    assert summarise([]) == []
