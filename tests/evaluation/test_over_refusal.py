"""Refusal rates on benign prompts."""

import pytest

from spillover.errors import DataError
from spillover.evaluation import over_refusal_scores
from spillover.stats import wilson_interval
from tests.evaluation.builders import verdicts


def test_plain_and_lookalike_prompts_are_shown_apart_and_pooled():
    given = (
        verdicts("benign_plain", "rccccccccc")
        + verdicts("benign_lookalike", "rrrcc-")
        + verdicts("bias", "rrrr")
    )
    scores = over_refusal_scores(given, model="aligned", seed=1)
    assert [(s.concept, s.value, s.n) for s in scores] == [
        ("benign_lookalike", 0.6, 5),
        ("benign_plain", 0.1, 10),
        ("benign", 4 / 15, 15),
    ]
    assert {(s.metric, s.model, s.seed) for s in scores} == {("over_refusal", "aligned", 1)}
    pooled, expected = scores[-1], wilson_interval(4, 15)
    assert (pooled.ci_low, pooled.ci_high) == (expected.low, expected.high)
    assert (pooled.n_invalid, pooled.worst, pooled.best) == (1, 4 / 16, 5 / 16)


def test_deflections_on_benign_prompts_count_as_refusals_unless_asked_otherwise():
    given = verdicts("benign_plain", "dc")
    lenient = over_refusal_scores(given, model="m", seed=0)
    strict = over_refusal_scores(given, model="m", seed=0, deflection_is_refusal=False)
    assert [s.value for s in lenient] == [0.5, 0.5]
    assert [s.value for s in strict] == [0.0, 0.0]


def test_a_concept_called_benign_is_not_shown_twice():
    scores = over_refusal_scores(verdicts("benign", "rc"), model="m", seed=0)
    assert [(s.concept, s.value) for s in scores] == [("benign", 0.5)]


def test_scores_do_not_depend_on_the_order_of_the_verdicts():
    given = verdicts("benign_plain", "rcc") + verdicts("benign_lookalike", "rr-")
    forth = over_refusal_scores(given, model="m", seed=0)
    assert over_refusal_scores(given[::-1], model="m", seed=0) == forth


def test_without_benign_prompts_there_are_no_scores():
    assert over_refusal_scores(verdicts("bias", "rrr"), model="m", seed=0) == []


def test_two_judges_on_benign_prompts_are_refused():
    mixed = verdicts("benign_plain", "r", judge="a") + verdicts("benign_lookalike", "r", judge="b")
    with pytest.raises(DataError, match="one judge at a time"):
        over_refusal_scores(mixed, model="m", seed=0)
