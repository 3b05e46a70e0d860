"""Multiple-choice questions: the bundled set and MMLU-like files."""

from collections import Counter

import pytest

from spillover.data import bundled_questions, load_questions
from spillover.errors import DataError
from spillover.records import MultipleChoice
from tests.data.files import jsonl

ROW = {"question": "1 + 1?", "choices": ["1", "2", "3", "4"], "answer": 1}


def test_the_bundled_questions_are_balanced():
    questions = bundled_questions()
    assert len(questions) >= 100
    assert {len(question.choices) for question in questions} == {4}
    assert len(set(Counter(question.answer for question in questions).values())) == 1
    assert len(set(Counter(question.subject for question in questions).values())) == 1


def test_the_bundled_questions_have_no_repeats():
    questions = bundled_questions()
    assert len({question.id for question in questions}) == len(questions)
    assert len({question.question for question in questions}) == len(questions)
    assert [q.id for q in questions if len(set(q.choices)) != 4] == []


def test_the_right_answer_is_not_given_away_by_its_length():
    # Guessing the longest (or shortest) choice should do little better than 1 in 4.
    questions = bundled_questions()
    for pick in (max, min):
        right = sum(len(q.choices[q.answer]) == pick(map(len, q.choices)) for q in questions) / len(
            questions
        )
        ties = sum(
            [len(c) for c in q.choices].count(pick(map(len, q.choices))) / 4 for q in questions
        ) / len(questions)
        assert abs(right - ties) < 0.12


@pytest.mark.parametrize("answer", [1, "1", "B", " B "])
def test_an_answer_is_an_index_or_its_text_or_a_letter(tmp_path, answer):
    (question,) = load_questions(jsonl(tmp_path / "q.jsonl", {**ROW, "answer": answer}))
    assert question == MultipleChoice(
        id="1", subject="general", question="1 + 1?", choices=("1", "2", "3", "4"), answer=1
    )


def test_numbers_are_taken_as_choices(tmp_path):
    (question,) = load_questions(jsonl(tmp_path / "q.jsonl", {**ROW, "choices": [1, 2.5]}))
    assert question.choices == ("1", "2.5")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"question": ""}, "field 'question' is empty"),
        ({"question": None}, "field 'question' is missing"),
        ({"choices": ["1"]}, "must be a list of at least two answers"),
        ({"choices": "1234"}, "must be a list of at least two answers"),
        ({"choices": ["1", " "]}, "field 'choices' is empty"),
        ({"answer": 4}, "field 'answer' is 4; give the index of the right choice from 0 to 3"),
        ({"answer": -1}, "field 'answer' is -1"),
        ({"answer": "E"}, "field 'answer' is 'E'"),
        ({"answer": ""}, "field 'answer' is ''"),
        ({"answer": None}, "field 'answer' is None"),
        ({"answer": "AB"}, "field 'answer' is 'AB'"),
        ({"answer": 1.0}, "field 'answer' is 1.0"),
        ({"answer": True}, "field 'answer' is True"),
    ],
)
def test_a_question_that_breaks_a_rule_is_named_with_the_rule(tmp_path, change, rule):
    with pytest.raises(DataError, match=rf"q.jsonl:1: .*{rule}"):
        load_questions(jsonl(tmp_path / "q.jsonl", {**ROW, **change}))


def test_an_id_that_is_used_twice_is_named(tmp_path):
    file = jsonl(tmp_path / "q.jsonl", {**ROW, "id": "x"}, {**ROW, "id": "x"})
    with pytest.raises(DataError, match=r"q.jsonl:2: id 'x' was used before"):
        load_questions(file)


def test_a_file_without_questions_is_refused(tmp_path):
    (tmp_path / "q.jsonl").write_text("")
    with pytest.raises(DataError, match="there are no questions in it"):
        load_questions(tmp_path / "q.jsonl")


def test_mmlu_files_are_read(shared_data):
    questions = load_questions(shared_data / "dev" / "mmlu.jsonl")
    assert len(questions) > 100
    assert all(0 <= question.answer < len(question.choices) for question in questions)
