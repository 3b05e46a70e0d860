"""The bundled prompt sets: size, forms, canary, and nothing in train that is also in test."""

from collections import Counter
from importlib import resources

import pytest

from spillover.data import BENIGN, CONCEPTS, bundled_prompts, load_prompts, near_duplicates
from spillover.errors import DataError
from spillover.files import read_jsonl

FORMS = {"request", "question", "role_play", "code_task", "scenario"}
CANARY = (
    "SPILLOVER-PROMPTS-DO-NOT-TRAIN-ON-OUTSIDE-OF-STUDIES "
    "canary 5f0c9a52-7d1e-4b35-9a6b-1c7a86f0d2e4"
)
FILES = [*CONCEPTS, "benign"]


def everything():
    sets = [*CONCEPTS, *BENIGN]
    return [p for c in sets for split in ("train", "test") for p in bundled_prompts(c, split=split)]


def file_of(name):
    return resources.files("spillover.data.prompts") / f"{name}.jsonl"


@pytest.mark.parametrize("concept", CONCEPTS)
@pytest.mark.parametrize(("split", "least"), [("train", 200), ("test", 32)])
def test_every_concept_has_enough_prompts_in_all_five_forms(concept, split, least):
    prompts = bundled_prompts(concept, split=split)
    assert len(prompts) >= least
    assert {prompt.form for prompt in prompts} == FORMS
    assert {(prompt.concept, prompt.split) for prompt in prompts} == {(concept, split)}


def test_every_concept_has_as_many_prompts_as_every_other():
    for split in ("train", "test"):
        assert len({len(bundled_prompts(concept, split=split)) for concept in CONCEPTS}) == 1


@pytest.mark.parametrize(
    ("split", "sizes"),
    [
        pytest.param("train", (652, 828), id="train: more of those that are refused by mistake"),
        pytest.param("test", (40, 40), id="test: as many of either"),
    ],
)
def test_at_least_half_of_the_benign_prompts_look_harmful(split, sizes):
    plain, alike = (bundled_prompts(concept, split=split) for concept in BENIGN)
    assert (len(plain), len(alike)) == sizes
    assert {p.form for p in plain} == {p.form for p in alike} == FORMS


@pytest.mark.parametrize("name", FILES)
def test_every_line_carries_the_canary(name):
    with resources.as_file(file_of(name)) as path:
        canaries = Counter(row["canary"] for _, row in read_jsonl(path))
    assert set(canaries) == {CANARY}


@pytest.mark.parametrize("name", FILES)
def test_every_line_of_a_file_belongs_to_a_set_that_can_be_asked_for(name):
    with resources.as_file(file_of(name)) as path:
        in_file = load_prompts(path)
    sets = BENIGN if name == "benign" else [name]
    asked = [p for c in sets for s in ("train", "test") for p in bundled_prompts(c, split=s)]
    assert {p.id for p in in_file} == {p.id for p in asked}


def test_ids_are_unique_over_all_sets():
    ids = [prompt.id for prompt in everything()]
    assert len(ids) == len(set(ids))


def test_no_two_prompts_are_near_duplicates_within_or_across_splits():
    assert near_duplicates(everything(), threshold=0.5) == []


def test_no_prompt_is_a_near_duplicate_of_the_development_prompts(shared_data):
    development = []
    for name in ("rai_prompts", "benign_prompts"):
        file = shared_data / "dev" / f"{name}.jsonl"
        development += load_prompts(file, concept="benign_plain")
    bundled = everything()
    own = {prompt.id for prompt in bundled}
    pairs = near_duplicates([*bundled, *development], threshold=0.6)
    assert [pair for pair in pairs if (pair.first in own) != (pair.second in own)] == []


def test_prompts_are_single_paragraphs_without_space_around_them():
    odd = [p.id for p in everything() if p.prompt != p.prompt.strip() or "\n\n" in p.prompt]
    assert odd == []


def test_a_concept_without_bundled_prompts_is_refused_with_the_choices():
    with pytest.raises(DataError, match=r"'disinformation' has no bundled.*safety.*file of your"):
        bundled_prompts("disinformation", split="train")


def test_a_split_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match="split 'dev' does not exist; choose train or test"):
        bundled_prompts("safety", split="dev")
