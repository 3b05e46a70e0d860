"""Rows of metrics become curves; curves become figures that name what they show."""

import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from spillover.report.curves import Point, curve, drift_curves, loss_curves, spread
from tests.report.studies import CONCEPTS, study

ROWS = study().curves["unlearned-safety"]


def drawn_text(svg: str) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())


def test_a_curve_is_in_the_order_of_steps_and_keeps_its_band():
    rows = [
        {"step": 5, "value": 0.2, "ci_low": 0.1, "ci_high": 0.3},
        {"step": 0, "value": 0.0},
    ]
    assert curve(rows, key="value") == (
        Point(step=0, value=0.0, low=None, high=None),
        Point(step=5, value=0.2, low=0.1, high=0.3),
    )


def test_what_is_not_a_number_is_left_out():
    rows = [{"step": s, "loss": v} for s, v in enumerate((1.0, float("nan"), float("inf"), None))]
    assert [point.step for point in curve(rows, key="loss")] == [0]


def test_seeds_are_averaged_and_their_range_is_the_band():
    rows = [{"step": 1, "value": v, "seed": s} for s, v in enumerate((0.1, 0.2, 0.6))]
    (point,) = curve(rows, key="value")
    assert (point.value, point.low, point.high) == (pytest.approx(0.3), 0.1, 0.6)


def test_the_drift_figure_names_every_concept_and_marks_the_target():
    text = drawn_text(drift_curves(ROWS, model="unlearned-safety", concepts=CONCEPTS))
    assert "safety (target)" in text
    assert "bias" in text
    assert "medical" in text
    assert "first-token KL (nats)" in text


def test_a_concept_that_only_the_monitor_knows_is_drawn():
    assert "medical" in drawn_text(drift_curves(ROWS, model="m", concepts=("bias",)))


def test_the_loss_figure_names_its_terms_where_there_are_several():
    rows = [
        {"kind": "train", "step": s, "loss": 3.0, "forget_loss": 2.0, "retain_loss": 1.0}
        for s in range(3)
    ]
    text = drawn_text(loss_curves(rows, model="contained-safety"))
    assert all(name in text for name in ("total", "forget", "retain"))


def test_a_loss_that_was_never_a_number_still_gives_a_figure():
    rows = [{"kind": "train", "step": 0, "loss": float("nan")}]
    assert "loss (nats)" in drawn_text(loss_curves(rows, model="m"))


def test_more_curves_than_colours_and_a_single_step_are_drawn():
    names = tuple(f"concept-{i}" for i in range(9))
    rows = [
        {"kind": "monitor", "step": 0, "concept": n, "metric": "first_token_kl", "value": 0.1}
        for n in names
    ]
    text = drawn_text(drift_curves(rows, model="m", concepts=names))
    assert all(name in text for name in names)


def test_labels_are_moved_apart_and_keep_their_order():
    places = spread([0.0, 0.1, 0.1, 5.0], gap=1.0)
    assert all(b - a >= 1.0 - 1e-9 for a, b in pairwise(places))
    assert spread([], gap=1.0) == []
