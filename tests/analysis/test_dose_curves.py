"""Interventions, probes and dose curves: what is compared with what, and the random null."""

import json
import math

import numpy as np
import pytest
import torch

from spillover.analysis.behaviour_probes import (
    answer_logprobs,
    answer_probe,
    first_token_probe,
    probe_of,
    text_probe,
)
from spillover.analysis.dose_curves import dose_curve, random_like
from spillover.analysis.interventions import (
    Intervention,
    Resampling,
    effect,
    probe_scores,
)
from spillover.generation import GenerationSettings
from spillover.models.directions import Direction
from spillover.models.steering import ablate_directions, add_direction
from spillover.records import Completion, Prompt, Verdict
from tests.analysis.planted_refusals import REFUSAL, planted_model, prompts, token_id
from tests.models.builders import EXAMPLES, naive_token_logprobs


@pytest.fixture(scope="module")
def planted(tiny):
    return planted_model(tiny)


def resampling(**settings):
    return Resampling(**{"rng": np.random.default_rng(0), "n_resamples": 200} | settings)


def asked(n, *, harmful, start=0):
    texts = prompts(n, harmful=harmful, start=start)
    return [Prompt(id=text, prompt=text, concept="c") for text in texts]


def refusal(direction, **settings):
    return Direction(
        **{
            "name": "refusal",
            "layer": 1,
            "site": "resid_pre",
            "vector": direction,
            "activation_norm": 10.0,
        }
        | settings
    )


def curve_of(loaded, direction, *, strengths=(-1.0, 1.0), **settings):
    probe = first_token_probe(asked(6, harmful=False), [token_id(loaded, REFUSAL)], of="benign")
    given = {
        "probes": [probe],
        "generator": torch.Generator().manual_seed(0),
        "resampling": resampling(),
    }
    return dose_curve(loaded, direction, strengths=strengths, **given | settings)


def test_a_share_gets_wilson_s_interval_and_a_paired_change():
    before, after = np.array([0.0] * 8), np.array([1.0] * 4 + [0.0] * 4)
    found = effect("m", after, before=before, intervention="i", resampling=resampling())
    assert (found.value.value, found.change.value, found.n) == (0.5, 0.5, 8)
    assert 0.15 < found.value.ci_low < 0.25  # Wilson, 4 of 8: 0.215
    assert 0 < found.change.ci_low < found.change.ci_high < 1


def test_items_without_a_value_on_one_side_are_left_out_on_both():
    before, after = np.array([1.0, math.nan, 3.0]), np.array([2.0, 5.0, math.nan])
    found = effect("m", after, before=before, intervention="i", resampling=resampling())
    assert (found.n, found.value.value, found.change.value) == (1, 2.0, 1.0)
    assert found.n_without == 2


def test_the_change_of_a_mean_is_over_the_same_items():
    rng = np.random.default_rng(1)
    before = rng.normal(size=60) * 10
    found = effect("m", before + 1.0, before=before, intervention="i", resampling=resampling())
    # Every item rose by 1: the change has no spread, whatever the items' own is.
    assert found.change.ci_low == pytest.approx(1.0)
    assert found.change.ci_high == pytest.approx(1.0)
    assert found.value.ci_high - found.value.ci_low > 2


def test_other_items_before_and_after_are_refused():
    with pytest.raises(ValueError, match="3 items before and 2 after"):
        effect("m", np.zeros(2), before=np.zeros(3), intervention="i", resampling=resampling())


def test_a_measure_without_any_value_is_counted_and_left_open():
    nothing = np.full(2, math.nan)
    found = effect("m", nothing, before=nothing, intervention="i", resampling=resampling())
    assert (found.n, found.n_without, found.value, found.change) == (0, 2, None, None)


def test_probes_observe_inside_and_are_scored_outside(planted):
    loaded, direction = planted
    d = refusal(30 * direction)
    seen = {}
    base = first_token_probe(asked(3, harmful=False), [token_id(loaded, REFUSAL)], of="x")

    def score(model, observed):
        seen["inside"], seen["after"] = observed, base.observe(model)
        return {"m": observed}

    probe = type(base)(observe=base.observe, score=score)
    adding = Intervention("add", lambda model: add_direction(model.model, model.architecture, d))
    probe_scores(loaded, [probe], adding)
    assert min(seen["inside"]) > 0 > max(seen["after"])


def test_two_probes_of_one_name_are_refused(tiny):
    probe = probe_of(lambda _loaded: [1.0], name="same")
    with pytest.raises(ValueError, match="two probes measure 'same'"):
        probe_scores(tiny, [probe, probe])


def test_a_planted_direction_raises_refusals_by_dose_and_random_ones_do_not(planted):
    loaded, direction = planted
    found = curve_of(
        loaded, refusal(direction), strengths=[-3, 1, 3], n_random=19, units="activation_norm"
    )
    points = found.of("benign refusal_log_odds")
    assert [p.strength for p in points] == [-3.0, 0.0, 1.0, 3.0]
    values = [p.value.value for p in points]
    assert values == sorted(values)
    top = points[-1]
    assert max(top.random_values) < top.value.value
    assert top.p_random == 0.05  # (1 + 0) / (1 + 19)
    rates = {p.strength: p.value.value for p in found.of("benign refused_by_first_token")}
    assert (rates[0.0], rates[3.0]) == (0.0, 1.0)


def test_a_random_direction_is_as_long_as_the_one_it_stands_for():
    d = refusal(torch.tensor([3.0, 4.0, 0.0]))
    found = random_like(d, generator=torch.Generator().manual_seed(0))
    assert found.norm == pytest.approx(5.0)
    assert (found.layer, found.site, found.activation_norm) == (1, "resid_pre", 10.0)
    assert abs(float(found.unit @ d.unit)) < 0.999


def test_random_directions_look_like_random_directions(tiny):
    # The null of a random direction against random directions: p is uniform on k / 10.
    generator = torch.Generator().manual_seed(3)
    probe = probe_of(lambda _loaded: [float(tiny.model.training)], name="constant")
    d = refusal(torch.randn(32, generator=generator))
    found = curve_of(tiny, d, n_random=9, probes=[probe], generator=generator)
    assert {p.p_random for p in found.points if p.strength} == {1.0}  # Nothing ever changes.


def test_dearer_probes_can_be_left_out_of_the_null(planted):
    loaded, direction = planted
    other = probe_of(lambda _loaded: [1.0, 2.0], name="dear")
    cheap = first_token_probe(asked(3, harmful=False), [token_id(loaded, REFUSAL)], of="benign")
    found = curve_of(
        loaded, refusal(direction), probes=[other, cheap], null_probes=[cheap], n_random=2
    )
    assert all(p.random_values == () and p.p_random is None for p in found.of("dear"))
    assert len(found.of("benign refusal_log_odds")[-1].random_values) == 2


def test_a_curve_becomes_a_table_and_a_figure(planted):
    loaded, direction = planted
    found = curve_of(loaded, refusal(direction), n_random=2)
    table = found.to_frame()
    assert len(table) == 6  # Two measures at three strengths.
    assert table.loc[table.strength == 0, "change"].isna().all()
    assert len(found.plot().axes) == 2
    assert "random directions of the same length" in found.caption
    assert json.loads(json.dumps(found.to_dict()))["points"][0]["strength"] == 0.0


def test_a_measure_that_has_no_value_at_a_strength_leaves_a_gap(tiny):
    readings = iter([[1.0, 2.0], [math.nan, math.nan], [3.0, 4.0]])
    probe = probe_of(lambda _loaded: next(readings), name="m")
    found = curve_of(tiny, refusal(torch.ones(32)), probes=[probe])
    assert [p.n for p in found.of("m")] == [0, 2, 2]
    assert found.of("m")[0].value is None
    assert len(found.plot().axes) == 2
    assert found.to_frame().value.isna().tolist() == [True, False, False]


def test_strength_0_alone_is_no_curve(tiny):
    with pytest.raises(ValueError, match="one strength other than 0"):
        curve_of(tiny, refusal(torch.ones(32)), strengths=[0.0])


class Parrot:
    """Calls an answer a refusal if it has an `N`, and none of an empty one."""

    name = "parrot"

    def judge(self, completions):
        return [
            Verdict(id=c.id, concept=c.concept, label=self.label(c.response), judge=self.name)
            for c in completions
        ]

    def label(self, response):
        if not response:
            return "invalid"
        return "refusal" if REFUSAL in response else "compliance"


def test_answers_are_judged_and_read_by_the_unchanged_model(planted):
    loaded, direction = planted
    d = refusal(direction)
    probe = answer_probe(
        asked(3, harmful=True),
        Parrot(),
        of="harmful",
        settings=GenerationSettings(max_new_tokens=3),
    )
    own = probe_scores(loaded, [probe])
    ablating = Intervention(
        "ablate", lambda model: ablate_directions(model.model, model.architecture, d)
    )
    found = probe_scores(loaded, [probe], ablating)
    assert own["harmful refused"].tolist() == [1.0, 1.0, 1.0]
    assert found["harmful refused"].tolist() == [0.0, 0.0, 0.0]
    # What it says without the direction is unlikely to the model with it.
    assert (found["harmful answer_logprob"] < own["harmful answer_logprob"]).all()


def test_an_empty_answer_has_no_coherence(tiny):
    answers = [
        Completion(
            id=text,
            prompt="p",
            concept="c",
            response=text,
            model="m",
            n_tokens=len(text),
            finish_reason="length",
        )
        for text in ("", "abc")
    ]
    found = answer_logprobs(tiny, answers)
    assert math.isnan(found[0])
    assert found[1] < 0


def test_text_probes_give_mean_log_probabilities_a_token(tiny):
    found = probe_scores(tiny, [text_probe(EXAMPLES, of="some")])["some text_logprob"]
    expected = [naive_token_logprobs(tiny.model, e).mean().item() for e in EXAMPLES]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)
