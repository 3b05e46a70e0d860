"""The page of a sweep: hostile words stay words, missing numbers stay missing, nothing varies."""

import html
from dataclasses import replace

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


def test_the_effect_of_a_fine_tuning_is_named_as_what_it_is():
    (tuned,) = sweep_figures(inputs(tradeoff(1, "tuned-x"))).values()
    (unlearned,) = sweep_figures(inputs(tradeoff(1))).values()
    assert ("aligned margin" in tuned, "refusals on the target" in tuned) == (True, False)
    assert ("aligned margin" in unlearned, "refusals on the target" in unlearned) == (False, True)


def test_the_front_is_told_in_words_and_in_the_table():
    page = render_sweep(inputs(tradeoff(1, on_front=True), tradeoff(2)))
    assert "1: effect 0.50, erosion 0.20, capability loss 0.01" in page
    assert page.count('<tr class="front">') == 1


def measured(number, effect, erosion, *, model="unlearned-safety", half_width=0.1):
    def around(value):
        return Estimate(value=value, low=value - half_width, high=value + half_width)

    row = tradeoff(number, model, value=str(10 * number))
    return replace(row, effect=around(effect), erosion=around(erosion))


def test_the_page_opens_with_what_the_strongest_effect_costs_and_which_row_spares_most():
    rows = (measured(1, 0.8, 0.7), measured(2, 0.5, 0.1, model="contained-safety"))
    page = render_sweep(inputs(*rows, measured(3, 0.3, 0.0)))
    told = html.unescape(page.partition("<main>")[0]).replace("\u00a0", " ")
    assert (
        "The strongest effect (fall of refusals on the target) is +0.80 [0.70, 0.90], of no. 1 "
        "(unlearned-safety, unlearn.steps=10); it costs the other concepts +0.70 [0.60, 0.80] on "
        "average. Of the rows with at least half of that effect the one that costs least is no. 2 "
        "(contained-safety, unlearn.steps=20): effect +0.50 [0.40, 0.60], cost +0.10 [0.00, 0.20]; "
        "the intervals of the two costs do not overlap."
    ) in told


def test_a_sweep_never_prefers_what_its_intervals_do_not_part():
    wide = [measured(1, 0.8, 0.3, half_width=0.2), measured(2, 0.7, 0.2, half_width=0.2)]
    assert "overlap, so which costs less is undecided" in render_sweep(inputs(*wide))
    bare = [replace(row, erosion=replace(row.erosion, low=None, high=None)) for row in wide]
    assert "another seed may say otherwise" in render_sweep(inputs(*bare))


def test_a_sweep_in_which_nothing_is_done_or_nothing_fell_says_so():
    assert "nothing to compare yet" in render_sweep(inputs())
    assert "No row has the effect that it is for." in render_sweep(inputs(measured(1, -0.1, 0.0)))
    assert "No row with at least half of that effect costs less." in render_sweep(
        inputs(measured(1, 0.8, 0.1), measured(2, 0.7, 0.4))
    )
    missing = replace(tradeoff(1), erosion=NOTHING)
    assert "none can be preferred" in render_sweep(inputs(missing))


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
