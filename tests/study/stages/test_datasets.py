"""Which prompts and questions a study uses."""

import json

import pytest

from spillover.data import bundled_prompts, bundled_questions
from spillover.errors import ConfigError, DataError
from spillover.study.config.sections import PromptsSection
from spillover.study.stages.datasets import study_prompts, study_questions


def prompt_file(path, *prompts, concept="safety"):
    rows = [{"prompt": text, "concept": concept} for text in prompts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def texts(prompts, concept):
    return [prompt.prompt for prompt in prompts if prompt.concept == concept]


def test_without_files_all_seven_concepts_and_both_benign_sets_are_the_bundled_ones():
    found = study_prompts(PromptsSection())
    for split in ("train", "test"):
        for concept in (*PromptsSection().concepts, "benign_plain", "benign_lookalike"):
            bundled = [p.prompt for p in bundled_prompts(concept, split=split)]
            assert texts(found[split], concept) == bundled
            assert bundled


def test_own_prompts_replace_the_bundled_ones_of_their_concept_only(tmp_path):
    section = PromptsSection(
        concepts=("safety", "privacy"), train=prompt_file(tmp_path / "a.jsonl", "one", "two")
    )
    found = study_prompts(section)
    assert texts(found["train"], "safety") == ["one", "two"]
    assert texts(found["train"], "privacy") == [
        p.prompt for p in bundled_prompts("privacy", split="train")
    ]
    assert texts(found["test"], "safety") == [
        p.prompt for p in bundled_prompts("safety", split="test")
    ]


def test_a_concept_of_the_users_own_stands_beside_the_seven(tmp_path):
    section = PromptsSection(
        concepts=("safety", "disinformation"),
        train=prompt_file(tmp_path / "train.jsonl", "Fake it.", concept="disinformation"),
        test=prompt_file(tmp_path / "test.jsonl", "Forge it.", concept="disinformation"),
    )
    found = study_prompts(section)
    assert texts(found["train"], "disinformation") == ["Fake it."]
    assert texts(found["test"], "disinformation") == ["Forge it."]
    assert texts(found["test"], "safety")


def test_a_limit_keeps_the_first_prompts_of_each_concept():
    found = study_prompts(PromptsSection(concepts=("safety",), limit=3))
    assert len(found["train"]) == len(found["test"]) == 3 * 3
    first = [p.prompt for p in bundled_prompts("safety", split="train")[:3]]
    assert texts(found["train"], "safety") == first


def test_a_concept_that_the_study_does_not_list_is_refused(tmp_path):
    section = PromptsSection(
        concepts=("privacy",), test=prompt_file(tmp_path / "mine.jsonl", "one", concept="safty")
    )
    with pytest.raises(
        ConfigError, match=r"prompts\.test: .*mine\.jsonl has concept 'safty', which is none of pri"
    ):
        study_prompts(section)


def test_a_harmful_concept_in_a_benign_file_is_refused(tmp_path):
    section = PromptsSection(benign_train=prompt_file(tmp_path / "mine.jsonl", "one"))
    with pytest.raises(
        ConfigError, match=r"prompts\.benign_train: .* 'safety', which is none of b"
    ):
        study_prompts(section)


def test_an_own_concept_without_prompts_is_refused():
    with pytest.raises(
        DataError, match=r"'disinformation' has no bundled prompts; .* file of your"
    ):
        study_prompts(PromptsSection(concepts=("disinformation",)))


def test_a_test_prompt_that_is_trained_on_is_refused_whatever_its_case(tmp_path):
    section = PromptsSection(
        concepts=("safety",),
        train=prompt_file(tmp_path / "train.jsonl", "Make a bomb"),
        test=prompt_file(tmp_path / "test.jsonl", "make  a BOMB"),
    )
    with pytest.raises(DataError, match="test prompt '1' is also train prompt '1'; remove one"):
        study_prompts(section)


def test_ids_that_two_files_share_are_told_apart_by_their_concepts(tmp_path):
    section = PromptsSection(
        concepts=("safety",),
        train=prompt_file(tmp_path / "train.jsonl", "one"),
        benign_train=prompt_file(tmp_path / "benign.jsonl", "two", concept="benign_plain"),
    )
    found = {prompt.prompt: prompt.id for prompt in study_prompts(section)["train"]}
    assert found["one"] == "safety/1"
    assert found["two"] == "benign_plain/1"
    assert len(set(found.values())) == len(found)


def test_a_missing_prompt_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.jsonl: no such file"):
        study_prompts(PromptsSection(train=str(tmp_path / "nowhere.jsonl")))


def test_questions_are_bundled_or_from_a_file_or_not_asked_at_all(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": "1 + 1?", "choices": ["2", "3"], "answer": "A"}\n')
    assert study_questions("bundled") == bundled_questions()
    assert [q.question for q in study_questions(str(path))] == ["1 + 1?"]
    assert study_questions(None) == []
