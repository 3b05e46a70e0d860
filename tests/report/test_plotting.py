"""Figures of scores and comparisons: what is drawn where, and what cannot be drawn."""

import io
from dataclasses import replace

import pytest

from spillover.records import Comparison, Score
from spillover.report.plotting import plot

SCORE = Score(
    model="aligned",
    metric="refusal_rate",
    concept="bias",
    value=0.8,
    n=40,
    ci_low=0.65,
    ci_high=0.9,
    judge="phrases",
    seed=0,
)
CHANGE = Comparison(
    before="aligned",
    after="tuned",
    metric="refusal_rate",
    concept="bias",
    delta=-0.3,
    ci_low=-0.45,
    ci_high=-0.1,
    p=0.01,
    p_holm=0.02,
    flagged=True,
    n=40,
    seed=0,
)


def marks(axes):
    """Return the values of the marks and the ends of the intervals."""
    lines = [list(line.get_xdata()) for line in axes.get_lines()]
    return [x[0] for x in lines if len(x) == 1], [x for x in lines if len(x) == 2 and x[0] != x[1]]


def names(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def legend(figure):
    return [text.get_text() for found in figure.legends for text in found.get_texts()]


def test_each_score_is_a_mark_with_its_interval_on_an_axis_from_0_to_1():
    rows = [SCORE, replace(SCORE, concept="medical_legal", value=0.5, ci_low=0.3, ci_high=0.7)]
    figure = plot([*rows, replace(SCORE, model="tuned", value=0.1, ci_low=0.0, ci_high=0.2)])
    (axes,) = figure.axes
    values, intervals = marks(axes)
    assert values == [0.8, 0.5, 0.1]
    assert intervals == [[0.65, 0.9], [0.3, 0.7], [0.0, 0.2]]
    assert names(axes) == ["bias", "medical legal"]
    assert legend(figure) == ["aligned", "tuned"]
    assert axes.get_xlim()[0] < 0 < 1 < axes.get_xlim()[1]


def test_each_metric_has_a_panel_and_one_can_be_chosen():
    nats = replace(SCORE, metric="aligned_margin_pivotal", value=4.9, ci_low=3.0, ci_high=6.8)
    titles = [axes.get_title(loc="left") for axes in plot([SCORE, nats]).axes]
    assert titles == ["refusal rate", "alignment margin"]
    (only,) = plot([SCORE, nats], metric="aligned_margin_pivotal").axes
    assert only.get_xlim()[1] > 5


def test_changes_have_a_line_at_0_and_say_between_which_models():
    figure = plot([CHANGE])
    assert legend(figure) == ["aligned to tuned"]
    assert [0, 0] in [list(line.get_xdata()) for line in figure.axes[0].get_lines()]


def test_several_judges_and_seeds_are_told_apart():
    found = plot([SCORE, replace(SCORE, judge="panel"), replace(SCORE, seed=1)])
    assert legend(found) == [
        "aligned, phrases, seed 0",
        "aligned, panel, seed 0",
        "aligned, phrases, seed 1",
    ]
    over = plot([CHANGE, replace(CHANGE, seed=None)])
    assert legend(over) == ["aligned to tuned, seed 0", "aligned to tuned, over seeds"]


def test_what_was_not_measured_is_left_out_and_its_row_stays():
    gone = replace(SCORE, concept="privacy", value=None, ci_low=None, ci_high=None)
    single = replace(SCORE, concept="safety", ci_low=None, ci_high=None)
    (axes,) = plot([SCORE, gone, single]).axes
    assert (len(marks(axes)[0]), len(marks(axes)[1])) == (2, 1)
    assert names(axes) == ["bias", "privacy", "safety"]


def test_names_of_models_are_no_mathematics_and_the_figure_can_be_kept():
    figure = plot([replace(SCORE, model="$x^2$", concept="a_$b$"), SCORE])
    stream = io.BytesIO()
    figure.savefig(stream, format="svg")
    assert b"$x^2$" in stream.getvalue()


def test_nothing_and_a_mixture_are_refused():
    with pytest.raises(ValueError, match="no records of metric 'refusal'"):
        plot([SCORE], metric="refusal")
    with pytest.raises(ValueError, match="no records; give scores"):
        plot([])
    with pytest.raises(ValueError, match="Comparison and Score; plot one kind"):
        plot([SCORE, CHANGE])
