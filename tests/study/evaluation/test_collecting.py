"""What the aligned model is asked for its own refusals, and how its answers are drawn."""

import pytest

from spillover.data.concepts import BENIGN
from spillover.errors import ConfigError, DataError
from spillover.study.artifacts import load_example_file
from tests.study import small
from tests.study.running import run_stage


def responses(context):
    """Return what was collected, by the id of its prompt."""
    run_stage(context, "collect")
    examples = load_example_file(context.folder.examples("collected"))
    return {e.id: e.response for e in examples}, {e.id: e.concept for e in examples}


HOT = ("collect.temperature=8.0", "collect.min_forget=1")
"The small model is sure of its refusals: only so hot does it stumble."
WARM = ("collect.temperature=1.5", "collect.samples=3")
"Some of its samples are refusals in other words."


def test_at_a_temperature_refusals_are_sampled_and_benign_answers_are_greedy(collected):
    greedy, concepts = responses(collected())
    said, _ = responses(collected(*HOT))
    for concept in small.CONCEPTS:
        harmful = {key for key in greedy if concepts[key] == concept}
        assert {greedy[key] for key in harmful} == {small.REFUSAL}
        assert {key: said.get(key) for key in harmful} != {key: greedy[key] for key in harmful}
    benign = {key for key in greedy if concepts[key] in BENIGN}
    assert benign
    assert {key: said.get(key) for key in benign} == {key: greedy[key] for key in benign}


def test_sampled_refusals_are_the_same_in_every_run_and_others_under_another_seed(collected):
    first, again = responses(collected(*HOT)), responses(collected(*HOT))
    other = responses(collected(*HOT, "seeds=[1]"))
    assert first == again
    assert first != other


def test_prompts_of_targets_are_answered_as_often_as_asked_for(collected):
    context = collected(*WARM)
    said, concepts = responses(context)
    (target,) = context.config.targets
    again = [key for key in said if "#" in key]
    assert {concepts[key] for key in again} == {target}
    assert {key.partition("#")[2] for key in again} == {"1", "2"}
    examples = load_example_file(context.folder.examples("collected"))
    assert len({(e.prompt, e.response) for e in examples}) == len(examples)


def test_samples_that_say_the_same_are_one_example(collected):
    greedy, cold = (
        responses(collected(*overrides))
        for overrides in ((), ("collect.temperature=0.01", "collect.samples=3"))
    )
    assert cold == greedy


def test_several_samples_of_a_prompt_count_as_one_refused_prompt(collected):
    context = collected(*WARM, "collect.min_forget=999")
    said, concepts = responses(context)
    (target,) = context.config.targets
    refused = {key.partition("#")[0] for key in said if concepts[key] == target}
    assert 0 < len(refused) < list(concepts.values()).count(target)
    with pytest.raises(DataError, match=rf"refused {len(refused)} training prompts of 'safety'"):
        run_stage(context, "unlearned-safety")


def test_several_samples_need_a_temperature(small_study):
    with pytest.raises(ConfigError, match="samples is 2, but at temperature 0 all of them are the"):
        small_study("collect.samples=2")


def test_a_study_that_samples_nothing_is_known_again_by_runs_from_before(small_study):
    assert "temperature" not in small_study().collect.model_dump()
    assert "samples" not in small_study().collect.model_dump()
    assert small_study("collect.temperature=1.0").collect.model_dump()["temperature"] == 1.0
