"""Refusals for giving safety training to a model that has had none."""

import numpy as np

from spillover.data import CONCEPTS, bundled_prompts, refusal_examples
from spillover.data.refusals import BY_CONCEPT, GENERAL
from spillover.records import Prompt


def examples(concept, *, seed=0):
    prompts = bundled_prompts(concept, split="train")
    return prompts, refusal_examples(prompts, rng=np.random.default_rng(seed))


def test_every_concept_has_refusals_of_its_own():
    assert set(BY_CONCEPT) == set(CONCEPTS)
    responses = [r for own in BY_CONCEPT.values() for r in own] + list(GENERAL)
    assert len(responses) == len(set(responses))


def test_every_prompt_is_answered_by_its_concept_or_in_general():
    prompts, found = examples("privacy")
    assert [(e.id, e.prompt, e.concept) for e in found] == [
        (p.id, p.prompt, p.concept) for p in prompts
    ]
    assert {e.response for e in found} == {*BY_CONCEPT["privacy"], *GENERAL}
    assert all(e.is_whole for e in found)


def test_a_concept_of_the_users_own_is_refused_in_general():
    prompts = [Prompt(id=str(i), prompt="Lie", concept="disinformation") for i in range(50)]
    found = refusal_examples(prompts, rng=np.random.default_rng(0))
    assert {e.response for e in found} <= set(GENERAL)


def test_the_same_seed_gives_the_same_refusals():
    assert examples("bias")[1] == examples("bias")[1]
    assert examples("bias")[1] != examples("bias", seed=1)[1]
