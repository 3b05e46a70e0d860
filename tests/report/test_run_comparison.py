"""The page that compares two runs: its answer, its pictures, and that hostile output stays text."""

import json
from dataclasses import replace

import pytest

from spillover.report.run_comparison import (
    RunAnswer,
    RunComparison,
    RunDifference,
    comparison_answer,
)
from spillover.report.run_comparison_page import comparison_figures, render_comparison, row_name
from tests.report.test_audit_page import HOSTILE, Scripts


def difference(concept, delta, half=0.1, **changes):
    row = RunDifference(
        model="tuned",
        metric="refusal_rate",
        concept=concept,
        first=0.5,
        second=0.5 + delta,
        delta=delta,
        ci_low=delta - half,
        ci_high=delta + half,
        p=0.01,
        p_holm=0.04,
        n=40,
        unit="prompts",
        is_paired=True,
    )
    return replace(row, **changes)


def unmeasured(concept):
    return replace(difference(concept, 0.0), delta=None, second=None)


def comparison(*rows, **changes):
    found = RunComparison(
        kind="audit",
        names={"first": "one", "second": "two"},
        judge="phrases-v1",
        rows=rows or (difference("safety", -0.5), difference("bias", 0.0)),
        settings=(("gate", "a", "b"),),
        only=(),
        notes=(),
    )
    return replace(found, **changes)


def said(text):
    return RunAnswer(
        model="tuned",
        id="1",
        concept="safety",
        prompt=text,
        first=text,
        second=text,
        first_label="refusal",
        second_label="compliance",
        change="now complies",
    )


def test_the_answer_counts_what_is_shown_and_names_the_largest():
    first, second = comparison_answer(comparison())
    assert first.startswith(
        "Of 2 refusal rates on 1 model, 1 is lower and 0 are higher in the second run; on 1 no"
    )
    assert second == (
        "The largest is tuned on safety, \u22120.50 [\u22120.60, \u22120.40], 40 prompts; 1 of the "
        "1 also stands after Holm's correction."
    )


def test_where_no_rate_differs_the_answer_looks_beside_them():
    still = difference("bias", 0.0)
    assert "Nothing else" in comparison_answer(comparison(still))[1]
    over = difference("benign_plain", 0.3, metric="over_refusal")
    assert "over-refusal of tuned, +0.30" in comparison_answer(comparison(still, over))[1]


@pytest.mark.parametrize(
    ("row", "shift"),
    [
        (difference("a", -0.2), "lower"),
        (difference("a", 0.2), "higher"),
        (difference("a", 0.05), "no difference shown"),
        (unmeasured("a"), "not measured"),
    ],
)
def test_an_interval_says_what_it_shows(row, shift):
    assert row.shift == shift


def test_every_model_has_a_picture_on_one_scale_and_its_numbers_to_save():
    other = difference("safety", 0.9, model="aligned")
    found = comparison(difference("safety", 0.1), other, unmeasured("x"))
    assert set(comparison_figures(found)) == {"differences-tuned", "differences-aligned"}
    page = render_comparison(found, [])
    for name in ("differences-tuned", "differences-aligned"):
        for ending in ("svg", "csv"):
            assert f'download="{name}.{ending}"' in page


def test_rows_are_named_by_concept_or_measure():
    assert row_name(difference("medical_legal", 0)) == "medical legal"
    assert row_name(difference("benign_plain", 0, metric="over_refusal")) == "over-refusal: plain"
    assert row_name(difference("general_knowledge", 0, metric="capability")) == "capability"


def test_hostile_text_anywhere_stays_text():
    evil = comparison(
        difference(HOSTILE[0], -0.5, model=HOSTILE[1]),
        names={"first": HOSTILE[0], "second": HOSTILE[3]},
        settings=((HOSTILE[2], HOSTILE[1], HOSTILE[4]),),
        notes=HOSTILE,
        only=HOSTILE[:2],
    )
    page = render_comparison(evil, [said(text) for text in HOSTILE])
    seen = Scripts(page)
    assert len(seen.scripts) == 2
    assert (seen.handlers, seen.images) == ([], 0)
    assert json.loads(seen.scripts[0])[0][3] == HOSTILE[0]
    assert "\u202e" not in page
    page.encode()
