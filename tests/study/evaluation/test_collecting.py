"""What the aligned model is asked for its own refusals, and how its answers are drawn."""

from spillover.data.concepts import BENIGN
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


def test_a_study_that_samples_nothing_is_known_again_by_runs_from_before(small_study):
    assert "temperature" not in small_study().collect.model_dump()
    assert small_study("collect.temperature=1.0").collect.model_dump()["temperature"] == 1.0
