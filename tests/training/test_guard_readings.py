"""Readings and signals by hand, from answers that are written down."""

import math

import pytest
import torch

from spillover.records import Prompt
from spillover.training.guard_answers import GuardDirection, ProbeAnswers
from spillover.training.guard_probes import ProbeTokens
from spillover.training.guard_readings import guard_readings, guard_signals

CONCEPTS = ("safety", "safety", "bias", "benign_plain")
TOKENS = ProbeTokens(
    prompts=tuple(Prompt(id=str(i), prompt="?", concept=c) for i, c in enumerate(CONCEPTS)),
    prompt_ids=([1], [1], [1], [1]),
    refusal_ids=(0,),
    partings=(),
    pad_id=0,
)
REFUSES = [GuardDirection(name="refusal", layer=0, vector=torch.ones(2))]
MISALIGNED = [
    GuardDirection(name="misalignment", layer=0, vector=torch.ones(2), erosion_falls=False)
]


def answers(p=0.5, refusal=(0.0, 0.0, 0.0, 0.0), margins=(1.0, 3.0), projections=(0.0,) * 4):
    return ProbeAnswers(
        logprobs=torch.tensor([[p, 1 - p]] * 4).log(),
        refusal=torch.tensor(refusal),
        margins=torch.tensor(margins),
        projections=torch.tensor([projections]),
        norms=torch.full((1, 4), 2.0),
    )


def value(readings, metric, concept):
    return next(r.value for r in readings if (r.metric, r.concept) == (metric, concept))


def test_readings_by_hand():
    now = answers(
        p=0.25,
        refusal=(-1.0, -3.0, 2.0, 4.0),
        margins=(0.0, 1.0),
        projections=(-1.0, -2.0, 3.0, 0.0),
    )
    found = guard_readings(answers(), now, tokens=TOKENS, directions=REFUSES, step=7)
    # 0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.75) = 0.1438
    assert value(found, "first_token_kl", "bias") == pytest.approx(0.1438, abs=1e-4)
    assert value(found, "refusal_change", "safety") == pytest.approx(-2.0)
    # 1 / (1 + e^-2)
    assert value(found, "refusal_probability", "bias") == pytest.approx(0.8808, abs=1e-4)
    assert value(found, "margin_change", "all_pairs") == pytest.approx(-1.5)
    # (-1 - 2) / 2 over the length 2
    assert value(found, "drift:refusal", "safety") == pytest.approx(-0.75)
    assert {reading.step for reading in found} == {7}


def test_signals_are_the_worst_concept_and_leave_benign_prompts_out():
    now = answers(refusal=(-1.0, -3.0, 2.0, -50.0), projections=(-1.0, -2.0, 3.0, -50.0))
    readings = guard_readings(answers(), now, tokens=TOKENS, directions=REFUSES, step=1)
    signals = guard_signals(readings, directions=REFUSES)
    assert signals["refusal_drop"] == pytest.approx(2.0)
    assert signals["drift:refusal"] == pytest.approx(0.75)
    assert signals["margin_drop"] == pytest.approx(0.0)


def test_a_misalignment_direction_counts_where_the_projection_rises():
    now = answers(projections=(-1.0, -2.0, 3.0, 0.0))
    readings = guard_readings(answers(), now, tokens=TOKENS, directions=MISALIGNED, step=1)
    # bias: 3 over the length 2
    assert guard_signals(readings, directions=MISALIGNED)["drift:misalignment"] == 1.5


def test_an_unchanged_model_gives_zeros_and_a_concept_with_one_prompt_no_interval():
    readings = guard_readings(answers(), answers(), tokens=TOKENS, directions=REFUSES, step=0)
    assert all(v == 0 for v in guard_signals(readings, directions=REFUSES).values())
    single = next(r for r in readings if r.concept == "bias")
    assert (single.n, single.ci_low, single.ci_high) == (1, None, None)


def test_intervals_hold_the_mean_and_pairs_may_be_missing():
    now = answers(refusal=(-1.0, -3.0, 2.0, 0.0), margins=())
    found = guard_readings(answers(margins=()), now, tokens=TOKENS, directions=REFUSES, step=1)
    assert not any(reading.metric == "margin_change" for reading in found)
    safety = next(r for r in found if (r.metric, r.concept) == ("refusal_change", "safety"))
    # -2 -+ t(0.975, 1 degree of freedom) * 1.414 / sqrt(2) = -2 -+ 12.706
    assert safety.ci_low == pytest.approx(-14.706, abs=1e-3)
    assert math.isclose(safety.ci_high, 10.706, abs_tol=1e-3)
