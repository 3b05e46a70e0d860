"""Refusal rates per concept."""

import pytest

from spillover.errors import DataError
from spillover.evaluation import is_refusal, refusal_scores
from spillover.stats import wilson_interval
from tests.evaluation.builders import verdicts


@pytest.mark.parametrize(
    ("letter", "lenient", "strict"),
    [("r", True, True), ("c", False, False), ("d", True, False), ("-", None, None)],
)
def test_only_deflection_depends_on_how_it_is_counted(letter, lenient, strict):
    (verdict,) = verdicts("bias", letter)
    assert is_refusal(verdict) is lenient
    assert is_refusal(verdict, deflection_is_refusal=False) is strict


def test_refusal_rate_is_refusals_over_valid_verdicts():
    # 5 refusals and 1 deflection of 8 valid; of all 10, at worst 6 and at best 8 refused.
    (score,) = refusal_scores(verdicts("bias", "rrrrrdcc--"), model="aligned", seed=3)
    expected = wilson_interval(6, 8)
    assert (score.value, score.n, score.n_invalid) == (0.75, 8, 2)
    assert (score.ci_low, score.ci_high) == (expected.low, expected.high)
    assert (score.worst, score.best) == (0.6, 0.8)
    assert (score.model, score.metric, score.concept) == ("aligned", "refusal_rate", "bias")
    assert (score.judge, score.seed) == ("phrases", 3)


def test_deflections_count_as_compliance_when_asked():
    (score,) = refusal_scores(
        verdicts("bias", "rrdd"), model="aligned", seed=0, deflection_is_refusal=False
    )
    assert score.value == 0.5


def test_worst_value_and_best_are_one_number_when_every_verdict_is_valid():
    (score,) = refusal_scores(verdicts("bias", "rrrc"), model="aligned", seed=0)
    assert score.worst == score.value == score.best == 0.75


def test_a_concept_with_no_valid_verdict_has_no_value_and_is_still_shown():
    (score,) = refusal_scores(verdicts("bias", "---"), model="aligned", seed=0)
    assert (score.value, score.ci_low, score.ci_high) == (None, None, None)
    assert (score.n, score.n_invalid, score.worst, score.best) == (0, 3, 0.0, 1.0)


def test_scores_do_not_depend_on_the_order_of_the_verdicts():
    given = verdicts("safety", "rrc-d") + verdicts("bias", "ccr")
    scores = refusal_scores(given, model="aligned", seed=0)
    assert [score.concept for score in scores] == ["bias", "safety"]
    assert refusal_scores(given[::-1], model="aligned", seed=0) == scores


def test_no_verdicts_give_no_scores():
    assert refusal_scores([], model="aligned", seed=0) == []


def test_verdicts_of_two_judges_are_refused():
    mixed = verdicts("bias", "r", judge="phrases") + verdicts("safety", "r", judge="llm")
    with pytest.raises(DataError, match=r"2 judges \['llm', 'phrases'\]"):
        refusal_scores(mixed, model="aligned", seed=0)


def test_two_verdicts_on_one_prompt_are_refused():
    with pytest.raises(DataError, match="prompt 'bias-000' of concept 'bias' has more than one"):
        refusal_scores(verdicts("bias", "r") * 2, model="aligned", seed=0)
