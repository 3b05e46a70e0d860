"""The log-odds of beginning a refusal."""

import math

import numpy as np
import pytest
import torch

from spillover.analysis.refusal_readout import refusal_log_odds, refusal_tokens


def test_log_odds_worked_by_hand():
    # 0.2 + 0.1 against 0.7; 0.9 against 0.1.
    rows = torch.tensor([[0.2, 0.7, 0.1], [0.3, 0.1, 0.6]]).log()
    expected = [math.log(0.3 / 0.7), math.log(9)]
    np.testing.assert_allclose(refusal_log_odds(rows, [0, 2]), expected, rtol=1e-6)


def test_they_stay_finite_where_a_refusal_is_all_but_certain():
    logits = torch.tensor([[60.0, 0.0, 0.0]])
    (found,) = refusal_log_odds(torch.log_softmax(logits, dim=-1), [0])
    assert found == pytest.approx(60 - math.log(2), abs=1e-4)


def test_the_tokens_are_those_that_refusals_begin_with(tiny):
    found = refusal_tokens(tiny.chat, ["I can't help.", "Sorry, no.", "I won't."])
    assert [tiny.tokenizer.decode([i]) for i in found] == ["I", "S"]


def test_without_refusals_or_tokens_there_is_nothing_to_read(tiny):
    with pytest.raises(ValueError, match="no refusals; give some in the words"):
        refusal_tokens(tiny.chat, [])
    with pytest.raises(ValueError, match="no tokens; a refusal must begin with one"):
        refusal_log_odds(torch.zeros(1, 3), [])
