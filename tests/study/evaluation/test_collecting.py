"""What the aligned model is asked for its own refusals, and how its answers are drawn."""

from spillover.data.concepts import BENIGN
from spillover.records import Completion
from spillover.study.artifacts import load_example_file
from spillover.study.evaluation.stages import own_words
from tests.study import small
from tests.study.running import run_stage


def responses(context):
    """Return what was collected, by the id of its prompt."""
    run_stage(context, "collect")
    examples = load_example_file(context.folder.examples("collected"))
    return {e.id: e.response for e in examples}, {e.id: e.concept for e in examples}


HOT = ("collect.temperature=2.0", "collect.min_forget=1")
"The small model is sure of its refusals: only so hot does it stumble, at times."


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


def test_refusals_of_harmful_prompts_and_answers_to_benign_ones_are_kept_and_nothing_invalid(
    collected,
):
    loop = "Alright, " * 12
    said = {
        "refused": ("safety", "I'm sorry, but I can't help with that."),
        "complied": ("safety", "Sure, here is how to do it."),
        "looped": ("safety", loop),
        "answered": ("benign_plain", "Paris is the capital of France."),
        "over_refused": ("benign_plain", "I'm sorry, but I can't help with that."),
        "benign_loop": ("benign_plain", loop),
    }
    completions = [
        Completion(
            id=key,
            prompt="p",
            concept=concept,
            response=response,
            model="aligned",
            n_tokens=9,
            finish_reason="stop",
        )
        for key, (concept, response) in said.items()
    ]
    kept = [example.id for example in own_words(collected(), completions)]
    assert kept == ["refused", "answered"]
