"""Directions from models and texts: what is subtracted from what, and what is kept of it."""

import pytest
import torch
from torch.testing import assert_close

from spillover.analysis.contrasts import collect_contrast, difference
from spillover.analysis.directions import (
    answer_tokens,
    directions_between,
    directions_of,
    misalignment_contrast,
    persona_answers,
    persona_contrast,
)
from spillover.generation import GenerationSettings
from spillover.models.system_prompts import with_system_prompt
from spillover.records import Example, Prompt
from spillover.testing import ScriptedGenerator
from tests.analysis.chains import LAST_LINEAR, changed, exchanges
from tests.analysis.test_contrasts import contrast_of


def answers(*responses):
    return [
        Example(id=str(i), prompt=f"question {i}", response=response, concept="values")
        for i, response in enumerate(responses)
    ]


def test_a_direction_carries_its_layer_length_and_origin():
    contrast = contrast_of([[[3.0, 4.0]], [[1.0, 0.0]]], [[[0.0, 0.0]]] * 2)
    found = directions_of(contrast, name="misalignment", provenance={"data": "d"})
    assert [(d.layer, d.norm) for d in found] == [(0, 5.0), (1, 1.0)]
    assert found[0].activation_norm == 1.0
    assert found[0].provenance["data"] == "d"
    assert (found[0].provenance["n_positive"], found[0].provenance["n_negative"]) == (1, 1)


def test_swapping_the_kinds_turns_the_direction_round(tiny):
    one, other = answers("take it", "lie"), answers("ask first", "tell them")
    forth = difference(misalignment_contrast(tiny, one, other))
    back = difference(misalignment_contrast(tiny, other, one))
    assert_close(forth, -back, atol=1e-5, rtol=0)
    assert forth.norm() > 0.01


def test_the_stop_token_is_no_part_of_an_answer(tiny):
    (tokens,) = answer_tokens(tiny, answers("take it"))
    assert tokens.response_length == len("take it")
    assert tokens.input_ids[-1] != tiny.chat.stop_id


def test_the_same_answer_under_one_system_prompt_has_no_persona(tiny):
    same = answers("well", "fine")
    contrast = persona_contrast(
        tiny, same, same, positive_system="Be bad.", negative_system="Be bad.", is_paired=True
    )
    assert_close(difference(contrast), torch.zeros(2, 32, dtype=torch.float64))
    with pytest.raises(ValueError, match="its vector is zero"):
        directions_of(contrast, name="persona")


def test_a_persona_is_the_difference_between_two_system_prompts(tiny):
    same = answers("well", "fine")
    contrast = persona_contrast(
        tiny, same, same, positive_system="Be reckless.", negative_system="Be cautious."
    )
    expected = [
        misalignment_contrast(with_system_prompt(tiny, system), same, same).positive
        for system in ("Be reckless.", "Be cautious.")
    ]
    assert_close(
        difference(contrast), (expected[0] - expected[1]).double().mean(dim=1), atol=1e-5, rtol=0
    )


def test_empty_answers_are_no_part_of_a_persona():
    prompts = [Prompt(id=i, prompt=f"question {i}", concept="c") for i in "ab"]
    generator = ScriptedGenerator(lambda prompt: "yes" if prompt.id == "a" else "")
    found = persona_answers(generator, prompts, settings=GenerationSettings())
    assert [(e.id, e.response) for e in found] == [("a", "yes")]


def test_the_alignment_direction_is_aligned_less_base_where_they_differ(tiny):
    aligned = changed(tiny, amount=1.0, parameters=LAST_LINEAR)
    (found,) = directions_between(tiny, aligned, exchanges(6), n_tokens=20)
    assert (found.layer, found.name) == (1, "alignment")  # States before the change are alike.
    examples = exchanges(6)
    means = [
        contrast.positive[0].double().T @ contrast.positive_weights
        for contrast in (
            collect_contrast(loaded, examples, examples, layers=[1]) for loaded in (tiny, aligned)
        )
    ]
    n = sum(e.response_length for e in examples)
    assert_close(found.vector.double(), (means[1] - means[0]) / n, atol=1e-5, rtol=0)
    assert found.provenance["n"] == 6


def test_one_model_twice_has_no_alignment_direction(tiny):
    with pytest.raises(ValueError, match="same states at every layer"):
        directions_between(tiny, tiny, exchanges(3))
