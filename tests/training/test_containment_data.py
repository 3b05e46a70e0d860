"""Shares, interleaving, ranking and re-alignment sets by hand."""

import numpy as np
import pytest

from spillover.errors import DataError
from spillover.records import Example
from spillover.training.containment_data import (
    equal_shares,
    interleaved,
    interleaving_scores,
    ranked_benign,
    realignment_units,
    shares_by_erosion,
)
from tests.training.examples import RETAIN, schedule


def benign(*responses):
    return [
        Example(id=f"x{i}", prompt=f"q{i}", response=text, concept="benign_plain")
        for i, text in enumerate(responses)
    ]


def rng():
    return np.random.default_rng(0)


def test_shares_by_erosion_by_hand():
    found = shares_by_erosion({"a": 0.6, "b": 0.2, "c": -0.1, "d": 0.0}, uniform=0.2)
    # 0.2 / 4 each, and 0.8 in the ratio 3 : 1 : 0 : 0
    assert found == pytest.approx({"a": 0.65, "b": 0.25, "c": 0.05, "d": 0.05})


def test_without_predicted_erosion_shares_are_equal():
    assert (
        shares_by_erosion({"a": -0.1, "b": 0.0})
        == equal_shares(["a", "b"])
        == {
            "a": 0.5,
            "b": 0.5,
        }
    )


def test_the_unit_of_the_prediction_does_not_matter():
    one = shares_by_erosion({"a": 0.3, "b": 0.1})
    assert one == pytest.approx(shares_by_erosion({"a": 30.0, "b": 10.0}))
    assert sum(one.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("predicted", "uniform"), [({}, 0.2), ({"a": float("nan")}, 0.2), ({"a": 0.1}, 1.2)]
)
def test_predictions_that_are_none_are_refused(predicted, uniform):
    with pytest.raises(DataError, match="shares by erosion"):
        shares_by_erosion(predicted, uniform=uniform)


def test_a_share_of_the_units_becomes_benign_at_even_distances():
    units = schedule(20)
    found = interleaved(units, benign("a", "b"), share=0.25, rng=rng())
    places = [i for i, unit in enumerate(found) if unit.forget[0].concept == "benign_plain"]
    assert places == [3, 7, 11, 15, 19]
    assert all(found[i] == units[i] for i in range(20) if i not in places)
    # Both are used before either comes again.
    assert {found[i].forget[0].id for i in places[:2]} == {"x0", "x1"}


def test_interleaving_of_nothing_is_refused():
    with pytest.raises(DataError, match="0 benign examples"):
        interleaved(schedule(2), [], share=0.5, rng=rng())
    with pytest.raises(DataError, match=r"share of 1\.5"):
        interleaved(schedule(2), benign("a"), share=1.5, rng=rng())


def test_scores_by_hand():
    aligned = np.array([1.0, 2.0, 0.5])
    misaligned = np.array([[1.5, 2.0, 1.0], [2.5, 1.0, 2.0]])
    # (2 - 1) / 1, (1.5 - 2) / 2, (1.5 - 0.5) / 0.5
    assert interleaving_scores(aligned, misaligned) == pytest.approx([1.0, -0.25, 2.0], abs=1e-4)


def test_the_highest_scores_are_kept_and_refusals_dropped():
    examples = benign("Fine.", "I'm sorry, no.", "Very good.", "Well, I CANNOT say.")
    scores = np.array([0.1, 0.9, 0.5, 0.7])
    kept = ranked_benign(examples, scores, n=2)
    assert [e.id for e in kept] == ["x2", "x0"]
    all_kept = ranked_benign(examples, scores, n=2, drop_refusals=False)
    assert [e.id for e in all_kept] == ["x1", "x3"]


def test_a_word_of_refusal_after_the_tenth_word_is_no_refusal():
    late = " ".join(["word"] * 10) + " sorry"
    assert ranked_benign(benign(late), np.array([1.0]), n=1)[0].response == late


def test_too_few_benign_answers_are_refused():
    with pytest.raises(DataError, match="1 of 2 benign examples are left and 2 are wanted"):
        ranked_benign(benign("Sorry.", "Yes."), np.array([1.0, 2.0]), n=2)
    with pytest.raises(DataError, match="some NLL is not finite"):
        interleaving_scores(np.array([np.nan]), np.array([[1.0]]))


def test_realignment_uses_a_few_examples_of_every_concept():
    examples = [example for own in RETAIN.values() for example in own]
    units = realignment_units(examples, n_examples=5, n_units=20, rng=rng())
    used = {unit.retain[0].id: unit.retain[0].concept for unit in units}
    assert len(used) == 5
    assert sorted(used.values()).count("bias") in (2, 3)
    assert all(unit.forget == () and len(unit.retain) == 1 for unit in units)
    # Each concept half of the 20.
    concepts = [unit.retain[0].concept for unit in units]
    assert concepts.count("bias") == 10


@pytest.mark.parametrize("n", [1, 9])
def test_realignment_with_fewer_examples_than_concepts_or_more_than_there_are_is_refused(n):
    examples = [example for own in RETAIN.values() for example in own]
    with pytest.raises(DataError, match=f"{n} examples asked for, 8 of 2 concepts there"):
        realignment_units(examples, n_examples=n, n_units=4, rng=rng())
