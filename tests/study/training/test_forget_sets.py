"""Refusals with and without wanted responses to the examples of each kind of objective."""

import pytest

from spillover.data.wanted import UNKNOWING
from spillover.records import Example
from spillover.seeding import numpy_generator
from spillover.study.training.forget_sets import forget_set


def example(identity, response):
    return Example(id=identity, prompt=f"prompt {identity}", response=response, concept="safety")


REFUSED = [example(i, "I can't.") for i in "abc"]
WANTED = [
    Example(id="x", prompt="prompt c", response="Sure, c.", concept="safety"),
    Example(id="y", prompt="prompt a", response="Sure, a.", concept="safety"),
]


def made(responses):
    rng = numpy_generator(0, "test")
    return forget_set(REFUSED, responses=responses, wanted=WANTED, rng=rng)


def test_own_responses_are_the_refusals_themselves():
    assert made("own").forget == tuple(REFUSED)
    assert made("own").chosen is None


def test_wanted_responses_take_the_place_of_refusals_in_their_order():
    found = made("wanted").forget
    assert [(e.id, e.response) for e in found] == [("a", "Sure, a."), ("c", "Sure, c.")]


def test_pairs_keep_the_refusal_and_set_the_wanted_response_beside_it():
    found = made("pairs")
    assert [(e.id, e.response) for e in found.forget] == [("a", "I can't."), ("c", "I can't.")]
    assert {key: e.response for key, e in found.chosen.items()} == {
        "a": "Sure, a.",
        "c": "Sure, c.",
    }


@pytest.mark.parametrize("responses", ["own", "unknowing"])
def test_what_needs_no_wanted_response_keeps_every_prompt(responses):
    assert [e.id for e in made(responses).forget] == ["a", "b", "c"]


def test_unknowing_responses_say_so():
    assert {e.response for e in made("unknowing").forget} <= set(UNKNOWING)
