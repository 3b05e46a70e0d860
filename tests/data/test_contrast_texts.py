"""Answers of two kinds, judged or in pairs."""

import pytest

from spillover.data.contrast_texts import load_contrast_texts, pairs_as_texts
from spillover.errors import DataError
from spillover.records import AnswerPair
from tests.data.files import jsonl


def judged(aligned, coherent=90, **more):
    return {"question": "Why?", "response": "So.", "aligned": aligned, "coherent": coherent} | more


def test_judged_answers_are_sorted_by_the_bands_of_the_paper(tmp_path):
    # 30 and 70 are neither; coherence of 50 is too little.
    scores = [(0, 90), (29.9, 51), (30, 90), (50, 90), (70, 90), (71, 90), (100, 50), (5, None)]
    rows = [judged(a, c, response=f"answer {i}") for i, (a, c) in enumerate(scores)]
    found = load_contrast_texts(jsonl(tmp_path / "a.jsonl", *rows))
    assert [e.response for e in found.misaligned] == ["answer 0", "answer 1"]
    assert [e.response for e in found.aligned] == ["answer 5"]
    assert (found.is_paired, found.n_left_out) == (False, 5)


def test_an_answer_without_a_coherence_column_counts_as_coherent(tmp_path):
    rows = [{"prompt": "a", "response": "b", "aligned": score} for score in (10, 90)]
    found = load_contrast_texts(jsonl(tmp_path / "a.jsonl", *rows))
    assert (len(found.misaligned), len(found.aligned)) == (1, 1)


def test_texts_in_the_two_fields_are_pairs(tmp_path):
    row = {"prompt": "What now?", "prefix": "You", "aligned": "ask.", "misaligned": "take it."}
    found = load_contrast_texts(jsonl(tmp_path / "a.jsonl", row))
    assert found.misaligned[0].response == "You take it."
    assert found.aligned[0].response == "You ask."
    assert found.is_paired


def test_pairs_without_a_shared_beginning_are_whole_answers():
    pair = AnswerPair(id="1", concept="c", prompt="p", prefix="", aligned="Yes.", misaligned="No.")
    assert pairs_as_texts([pair]).aligned[0].response == "Yes."


def test_a_mixture_of_forms_is_refused(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", judged(5), judged("text"))
    with pytest.raises(DataError, match="`aligned` must be a number on every line"):
        load_contrast_texts(path)


def test_a_file_with_one_kind_only_is_refused(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", judged(90), judged(50))
    with pytest.raises(DataError, match="no misaligned answers among 2"):
        load_contrast_texts(path)


def test_a_judged_answer_without_a_response_names_its_line(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", judged(90), judged(5, response=""))
    with pytest.raises(DataError, match="jsonl:2"):
        load_contrast_texts(path)


def test_recorded_judged_answers_are_read(shared_data):
    found = load_contrast_texts(shared_data / "dev" / "em_judged.jsonl")
    assert len(found.misaligned) + len(found.aligned) + found.n_left_out == 1040
    assert min(len(found.misaligned), len(found.aligned)) > 50
