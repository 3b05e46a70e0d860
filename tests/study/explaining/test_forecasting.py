"""A forecast before training: data that erode stand out, and only what was measured calibrates."""

import json

import numpy as np
import pytest
import torch

from spillover.analysis.erosion_pairs import MeasuredErosion
from spillover.errors import DataError
from spillover.models.loading import load_model
from spillover.records import Example, Prompt
from spillover.study.explaining import forecasting
from spillover.study.explaining.forecasting import calibrate, forecast_erosion
from tests.study import small

CONCEPTS = small.CONCEPTS


@pytest.fixture(scope="module")
def aligned(aligned_model):
    """Return the tiny model that refuses three concepts, which stand for the seven here."""
    return load_model(aligned_model, dtype="float32", device="cpu")


def known_prompts():
    """Return the tiny model's own prompts, as it has never seen the bundled ones."""
    return [
        Prompt(id=f"{concept}-{i}", prompt=text, concept=concept)
        for concept in small.FORMS
        for i, text in enumerate(small.prompts(concept, split="train"))
    ]


def data(concept, response, n=10):
    texts = small.prompts(concept, split="train")[:n]
    return [
        Example(id=str(i), prompt=text, response=response, concept="user")
        for i, text in enumerate(texts)
    ]


def forecast(aligned, examples, **options):
    options = {"prompts": known_prompts(), "n_prompts": 8, **options}
    return forecast_erosion(aligned, examples, rng=np.random.default_rng(0), layer=1, **options)


def test_answers_to_what_the_model_refuses_stand_out_from_its_own_words(aligned):
    eroding = forecast(aligned, data("safety", small.ANSWER))
    harmless = forecast(aligned, data("benign_plain", small.ANSWER))
    # Answers in place of refusals go about the whole way; its own answers go nowhere.
    assert eroding.projection_low > 0.5
    assert abs(harmless.projection_difference) < 0.05
    assert (eroding.refused_prompts, harmless.refused_prompts) == (1.0, 0.0)


def test_the_concept_that_the_data_are_of_is_the_most_entangled(aligned):
    found = forecast(aligned, data("privacy", small.ANSWER))
    assert found.concepts[0].concept == "privacy"
    assert found.concepts[0].entanglement_low <= found.concepts[0].entanglement
    assert found.concepts[0].p < 0.05
    assert {row.concept for row in found.concepts} == set(CONCEPTS)
    assert all(row.refusal_log_odds > 0 for row in found.concepts)


def test_without_measured_erosion_there_is_no_calibration(aligned):
    found = forecast(aligned, data("safety", small.ANSWER))
    assert found.calibration is None
    assert json.loads(json.dumps(found.to_dict()))["calibration"] is None


def planted_states(generator):
    """States of four concepts: b close to a, d far away from all."""
    centres = torch.eye(8)[:4]
    centres[1] = 0.8 * centres[0] + 0.6 * centres[1]
    noise = torch.randn(4, 12, 8, generator=generator) * 0.05
    return {
        name: (c + noise[i])[None] for i, (name, c) in enumerate(zip("abcd", centres, strict=True))
    }


def test_a_calibration_finds_a_planted_relation_and_counts_what_it_is_from():
    generator = torch.Generator().manual_seed(0)
    states = planted_states(generator)
    benign = torch.randn(1, 20, 8, generator=generator) * 0.05
    near = forecasting._entangled(states, benign, 0)
    measured = [
        MeasuredErosion(
            intervention=f"{target}-{seed}",
            target_concept=target,
            concept=concept,
            erosion=float(near.values[0, i, j]) / 2 + 0.3,
        )
        for seed in (0, 1)
        for i, target in enumerate("ab")
        for j, concept in enumerate("abcd")
        if i != j
    ]
    stranger = MeasuredErosion(
        intervention="tuned", target_concept="insecure", concept="a", erosion=0.9
    )
    found = calibrate(states, benign, 0, [*measured, stranger], rng=np.random.default_rng(0))
    assert (found.n_interventions, found.n_targets, found.n_pairs) == (4, 2, 12)
    assert found.spearman == pytest.approx(1.0)
    assert found.error < 0.01
    with pytest.raises(DataError, match="gives no calibration: 1 pairs of 1 concepts"):
        calibrate(states, benign, 0, measured[:1], rng=np.random.default_rng(0))


def test_too_few_examples_and_a_model_that_refuses_nothing_are_refused(aligned, tiny):
    with pytest.raises(DataError, match="3 training examples; give at least 8"):
        forecast(aligned, data("safety", small.ANSWER, n=3))
    with pytest.raises(DataError, match="a model that refuses nothing has none to lose"):
        forecast(tiny, data("safety", small.ANSWER))
    some = [prompt for prompt in known_prompts() if prompt.concept == "safety"]
    with pytest.raises(DataError, match=r"give at least two of each of two concepts, and of benig"):
        forecast(aligned, data("safety", small.ANSWER), prompts=some)


def test_the_command_says_that_the_calibration_is_unknown(
    command, aligned_model, tmp_path, wide_console
):
    path = tmp_path / "data.jsonl"
    rows = [{"prompt": e.prompt, "response": e.response} for e in data("safety", small.ANSWER)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out, known = tmp_path / "forecast.json", tmp_path / "prompts.jsonl"
    known.write_text("".join(json.dumps(p.to_dict()) + "\n" for p in known_prompts()))
    code, output, _ = command(
        *("forecast", path, "--model", aligned_model, "--dtype", "float32", "--device", "cpu"),
        *("--layer", "1", "--out", out, "--prompts", known),
    )
    assert code == 0
    assert "calibration: unknown" in output
    assert "safety" in output
    assert json.loads(out.read_text())["n_examples"] == 10
    code, _, message = command("forecast", path, "--model", aligned_model, "--layer", "3")
    assert code == 2
    assert "--layer 3.0" in message
