"""Pairs of prompts that share their character 5-grams."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spillover.data import near_duplicates
from spillover.records import Prompt


def prompts(*texts):
    return [Prompt(id=str(i), prompt=text, concept="c") for i, text in enumerate(texts)]


def test_the_similarity_is_the_jaccard_index_of_5_grams():
    # abcde bcdef cdefg against bcdef cdefg defgh: 2 shared of 4.
    (pair,) = near_duplicates(prompts("abcdefg", "bcdefgh"), threshold=0.5)
    assert (pair.first, pair.second, pair.similarity) == ("0", "1", 0.5)
    assert near_duplicates(prompts("abcdefg", "bcdefgh"), threshold=0.51) == []


def test_case_and_spaces_do_not_tell_prompts_apart():
    (pair,) = near_duplicates(prompts("How do I bake bread?", "how do  i\nbake BREAD?"))
    assert pair.similarity == 1.0


def test_prompts_shorter_than_a_5_gram_are_compared_whole():
    found = near_duplicates(prompts("abc", "abd", "ABC"))
    assert [(pair.first, pair.second) for pair in found] == [("0", "2")]


@pytest.mark.parametrize("texts", [(), ("one",), ("all of it", "differs here")])
def test_prompts_that_share_nothing_give_no_pairs(texts):
    assert near_duplicates(prompts(*texts)) == []


@given(st.lists(st.text(alphabet="ab ", max_size=12), max_size=8))
def test_all_pairs_are_found_that_a_plain_comparison_finds(texts):
    def grams(text):
        clean = " ".join(text.split())
        return {clean[i : i + 5] for i in range(max(1, len(clean) - 4))}

    expected = [
        (str(i), str(j), len(grams(a) & grams(b)) / len(grams(a) | grams(b)))
        for i, a in enumerate(texts)
        for j, b in enumerate(texts)
        if i < j and len(grams(a) & grams(b)) / len(grams(a) | grams(b)) >= 0.4
    ]
    assert [tuple(pair) for pair in near_duplicates(prompts(*texts), threshold=0.4)] == expected
