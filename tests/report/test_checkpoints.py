"""Measured steps of a training as a table, and the kept one on the page."""

from spillover.evaluation.checkpoint_choice import _RANKS
from spillover.report.checkpoints import RULES, checkpoint_tables
from spillover.report.page import render_page
from tests.report.studies import study


def row(step, metric, concept, value):
    return {
        "kind": "checkpoint",
        "step": step,
        "metric": metric,
        "concept": concept,
        "value": value,
    }


def curves(*, seed=0, kept=20):
    rows = [
        *(row(0, "refusal_rate", c, 1.0) for c in ("safety", "bias", "medical")),
        row(0, "capability", "general_knowledge", 0.5),
        row(10, "refusal_rate", "safety", 0.5),
        row(10, "refusal_rate", "bias", 0.5),
        row(10, "refusal_rate", "medical", 0.75),
        row(10, "capability", "general_knowledge", 0.4),
        row(20, "refusal_rate", "safety", 0.25),
        row(20, "refusal_rate", "bias", None),
        row(20, "refusal_rate", "medical", 0.75),
        row(20, "capability", "general_knowledge", 0.5),
        {"kind": "choice", "step": kept, "rule": "lowest_target_refusal", "counted": [20]},
    ]
    return tuple({**r, "seed": seed} for r in rows)


def test_target_and_others_are_apart_and_missing_values_are_left_out_of_the_mean():
    (table,) = checkpoint_tables(study(curves={"unlearned-safety": curves()}))["unlearned-safety"]
    assert table.columns == ("Refusal, target", "Refusal, others", "Capability")
    assert [(r.step, r.values) for r in table.rows] == [
        (0, (1.0, 1.0, 0.5)),
        (10, (0.5, 0.625, 0.4)),  # (0.5 + 0.75) / 2
        (20, (0.25, 0.75, 0.5)),
    ]
    assert [r.is_counted for r in table.rows] == [False, False, True]
    assert [r.is_kept for r in table.rows] == [False, False, True]


def test_a_tuned_model_has_no_target():
    (table,) = checkpoint_tables(study(curves={"tuned-safety": curves()}))["tuned-safety"]
    assert table.columns == ("Refusal", "Capability")


def test_each_seed_has_a_table_of_its_own():
    rows = (*curves(seed=3, kept=10), *curves(seed=1))
    tables = checkpoint_tables(study(curves={"unlearned-safety": rows}))["unlearned-safety"]
    kept = [(t.seed, [r.step for r in t.rows if r.is_kept]) for t in tables]
    assert kept == [(1, [20]), (3, [10])]


def test_a_study_that_chose_nothing_has_no_tables():
    assert checkpoint_tables(study()) == {}
    assert "kept out of training" not in render_page(study())


def test_the_page_shows_what_was_kept_and_by_which_rule():
    page = render_page(study(curves={"unlearned-safety": curves()}))
    assert "20, kept" in page
    assert "the lowest refusal rate on the target was kept" in page


def test_every_rule_has_words():
    assert RULES.keys() == _RANKS.keys()
