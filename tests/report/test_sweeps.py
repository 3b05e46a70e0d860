"""The page of a sweep: hostile words stay words, missing numbers stay missing, nothing varies."""

from spillover.report.pooling import Estimate
from spillover.report.sweeps import SweepInputs, Tradeoff, render_sweep, sweep_figures

NOTHING = Estimate(value=None, low=None, high=None)


def estimate(value):
    return Estimate(value=value, low=value - 0.1, high=value + 0.1)


def tradeoff(number, model="unlearned-safety", *, capability=0.01, on_front=False, value="10"):
    return Tradeoff(
        number=number,
        settings=(("unlearn.steps", value),),
        model=model,
        n_seeds=3,
        effect=estimate(0.5),
        erosion=estimate(0.2),
        capability=NOTHING if capability is None else estimate(capability),
        over_refusal=NOTHING,
        is_on_front=on_front,
    )


def inputs(*tradeoffs, failures=()):
    return SweepInputs(
        title="a_study", keys=("unlearn.steps",), tradeoffs=tradeoffs, failures=tuple(failures)
    )


def test_there_is_a_picture_for_each_target():
    made = sweep_figures(
        inputs(tradeoff(1), tradeoff(2, "contained-safety"), tradeoff(3, "tuned-x"))
    )
    assert list(made) == ["safety", "x"]
    assert all(svg.startswith("<svg ") for svg in made.values())


def test_the_front_is_told_in_words_and_in_the_table():
    page = render_sweep(inputs(tradeoff(1, on_front=True), tradeoff(2)))
    assert "1: effect 0.50, erosion 0.20, capability loss 0.01" in page
    assert page.count('<tr class="front">') == 1


def test_what_a_user_or_a_run_said_is_escaped():
    page = render_sweep(
        inputs(tradeoff(1, value="<script>"), failures=[("<b>", "it said <img src=x>\u202e")])
    )
    assert "<script>" not in page
    assert "<img" not in page
    assert "&lt;img src=x&gt;\\u202e" in page


def test_a_metric_that_was_not_measured_is_said_to_be_missing():
    page = render_sweep(inputs(tradeoff(1, capability=None, on_front=True)))
    assert "capability loss n/a" in page


def test_the_same_inputs_give_the_same_page():
    assert render_sweep(inputs(tradeoff(1))) == render_sweep(inputs(tradeoff(1)))
