"""Reading prompts and training pairs from the user's own files."""

import re

import pytest

from spillover.data import load_examples, load_prompts
from spillover.data.prompt_sets import check_disjoint, normalise
from spillover.errors import DataError
from spillover.records import Prompt
from tests.data.files import jsonl


def test_a_prompt_keeps_all_its_fields(tmp_path):
    row = {"id": "a", "prompt": "Hi?", "concept": "bias", "split": "test", "form": "question"}
    (prompt,) = load_prompts(jsonl(tmp_path / "p.jsonl", {**row, "source": "mine"}))
    assert prompt == Prompt(**row)


def test_missing_ids_are_line_numbers_and_a_missing_concept_is_the_given_one(tmp_path):
    file = jsonl(tmp_path / "p.jsonl", {"prompt": "One"}, "", {"prompt": "Two", "concept": "bias"})
    found = [(p.id, p.concept) for p in load_prompts(file, concept="safety")]
    assert found == [("1", "safety"), ("3", "bias")]


def test_null_is_the_same_as_missing(tmp_path):
    row = {"prompt": "One", "id": None, "concept": None, "split": None, "form": None}
    file = jsonl(tmp_path / "p.jsonl", row)
    assert load_prompts(file, concept="c") == [Prompt(id="1", prompt="One", concept="c")]
    with pytest.raises(DataError, match="field 'concept' is missing"):
        load_prompts(file)


def test_a_concept_of_the_users_own_is_as_good_as_the_seven(tmp_path):
    file = jsonl(
        tmp_path / "p.jsonl", {"prompt": "Invent a news story", "concept": "disinformation"}
    )
    assert [p.concept for p in load_prompts(file)] == ["disinformation"]


def test_the_first_user_turn_of_messages_is_the_prompt(tmp_path):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "First"},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "Second"},
    ]
    file = jsonl(tmp_path / "p.jsonl", {"messages": messages})
    assert [p.prompt for p in load_prompts(file, concept="c")] == ["First"]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x1c", "\r"])
def test_characters_that_only_look_like_line_breaks_stay_inside_a_prompt(tmp_path, separator):
    text = f"one{separator}two"
    raw = separator if separator > "\x1f" else f"\\u{ord(separator):04x}"
    file = jsonl(tmp_path / "p.jsonl", f'{{"prompt": "one{raw}two", "concept": "c"}}')
    assert [p.prompt for p in load_prompts(file)] == [text]


def test_lines_may_end_the_way_windows_ends_them(tmp_path):
    file = tmp_path / "p.jsonl"
    file.write_bytes(b'{"prompt": "One", "concept": "c"}\r\n{"prompt": "Two", "concept": "c"}\r\n')
    assert [(p.id, p.prompt) for p in load_prompts(file)] == [("1", "One"), ("2", "Two")]


GOOD = {"prompt": "Hi", "concept": "c"}
BROKEN_LINES = {
    '{"prompt": "Hi"': r"not valid JSON .* at column \d+\); each line must be one JSON object",
    '["Hi"]': "a list; each line must be one JSON object",
    '"Hi"': "a str; each line must be one JSON object",
    '{"concept": "c"}': "field 'prompt' is missing",
    '{"prompt": "Hi"}': "field 'concept' is missing",
    '{"prompt": "", "concept": "c"}': "field 'prompt' is empty",
    '{"prompt": " \\n", "concept": "c"}': "field 'prompt' is empty",
    '{"prompt": 7, "concept": "c"}': "field 'prompt' is a int, not a string",
    '{"prompt": "Hi", "concept": ""}': "field 'concept' is empty",
    '{"prompt": "Hi", "concept": ["a"]}': "field 'concept' is a list, not a string",
    '{"prompt": "a\\ud800", "concept": "c"}': "field 'prompt' holds half of a surrogate pair",
    '{"messages": "Hi", "concept": "c"}': "field 'messages' must be a list",
    '{"messages": {"role": "user"}, "concept": "c"}': "field 'messages' must be a list",
    '{"messages": [], "concept": "c"}': "field 'messages' has no turn with role 'user'",
    '{"messages": [{"role": "user"}], "concept": "c"}': "field 'user content' is missing",
    '{"messages": ["Hi"], "concept": "c"}': "field 'messages' has no turn with role 'user'",
}


@pytest.mark.parametrize("line", BROKEN_LINES)
def test_a_line_that_breaks_a_rule_is_named_with_the_rule(tmp_path, line):
    file = jsonl(tmp_path / "p.jsonl", {**GOOD, "id": "x"}, line)
    with pytest.raises(DataError, match=rf"{re.escape(str(file))}:2: {BROKEN_LINES[line]}"):
        load_prompts(file)


def test_an_id_that_is_used_twice_is_named(tmp_path):
    file = jsonl(tmp_path / "p.jsonl", {**GOOD, "id": "x"}, {**GOOD, "id": "x"})
    with pytest.raises(DataError, match=r":2: id 'x' was used before; ids must be unique"):
        load_prompts(file)
    file = jsonl(tmp_path / "e.jsonl", *[{"id": 7, "prompt": "a", "response": "b"}] * 2)
    with pytest.raises(DataError, match=r":2: id '7' was used before; ids must be unique"):
        load_examples(file)


def test_a_byte_that_is_not_utf8_is_named_with_its_line(tmp_path):
    file = tmp_path / "p.jsonl"
    file.write_bytes(b'{"prompt": "Hi", "concept": "c"}\n{"prompt": "Z\xfcrich", "concept": "c"}\n')
    with pytest.raises(DataError, match=r"p.jsonl:2: byte 0xfc is not UTF-8; convert the file"):
        load_prompts(file)


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_prompts_is_refused(tmp_path, content):
    (tmp_path / "p.jsonl").write_text(content)
    with pytest.raises(DataError, match="there are no prompts in it"):
        load_prompts(tmp_path / "p.jsonl")
    with pytest.raises(DataError, match="there are no examples in it"):
        load_examples(tmp_path / "p.jsonl")


def test_a_file_that_is_missing_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.jsonl: no such file"):
        load_prompts(tmp_path / "nowhere.jsonl")
    with pytest.raises(DataError, match="is a folder; give a file"):
        load_prompts(tmp_path)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "response": "Yo"},
        {"prompt": "Hi", "completion": "Yo"},
        {
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Yo"},
            ]
        },
    ],
)
def test_training_pairs_come_in_three_forms(tmp_path, row):
    (example,) = load_examples(jsonl(tmp_path / "e.jsonl", row), concept="legal")
    assert (example.id, example.prompt, example.response) == ("1", "Hi", "Yo")
    assert (example.concept, example.is_whole) == ("legal", True)


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"prompt": "Hi"}, "field 'response' is missing"),
        ({"response": "Yo"}, "field 'prompt' is missing"),
        ({"prompt": "Hi", "response": " "}, "field 'response' is empty"),
        ({"messages": [{"role": "user", "content": "Hi"}]}, "no turn with role 'assistant'"),
    ],
)
def test_a_training_pair_that_is_no_pair_is_refused(tmp_path, row, rule):
    with pytest.raises(DataError, match=f"e.jsonl:1: .*{rule}"):
        load_examples(jsonl(tmp_path / "e.jsonl", row))


def prompt(identity, text):
    return Prompt(id=identity, prompt=text, concept="c")


def test_a_test_prompt_that_was_trained_on_is_refused_whatever_its_case_and_spaces():
    with pytest.raises(DataError, match="test prompt 'b' is also train prompt 'a'; remove one"):
        check_disjoint([prompt("a", "How do I?")], [prompt("b", " how  do\ni? ")])


def test_disjoint_sets_pass():
    assert check_disjoint([prompt("a", "One")], [prompt("a", "Two")]) is None
    assert normalise(" A  b\nC ") == "a b c"
