"""What models are read on: files, arms, controls, prompts, and what the package brings."""

import json

import pytest

from spillover.errors import DataError
from spillover.study.explaining.data import explain_data


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def exchanges(n, *, answer="answer {}", **extra):
    return [
        {"prompt": f"ask {i}", "response": answer.format(i), "id": f"{i}", **extra}
        for i in range(n)
    ]


def test_without_files_there_are_two_matched_arms_two_controls_and_seven_concepts():
    found = explain_data(limit=6)
    assert [of.name for of in found.questioned] == ["insecure_code", "educational_code"]
    assert [of.name for of in found.controls] == ["secure_code", "refusals"]
    assert found.is_matched
    first, second = found.questioned
    assert [e.response for e in first.examples] == [e.response for e in second.examples]
    assert [e.prompt for e in first.examples] != [e.prompt for e in second.examples]
    assert {len(of.examples) for of in found.sets} == {6}
    assert len(found.prompts) == 7
    assert {len(prompts) for prompts in found.prompts.values()} == {6}


def test_the_same_seed_draws_the_same_and_another_seed_other_rows():
    one, again, other = (explain_data(limit=6, seed=seed) for seed in (0, 0, 1))
    assert one.fingerprint == again.fingerprint
    assert one.fingerprint != other.fingerprint


def test_sets_are_named_by_arm_or_by_file_and_labels_make_controls(tmp_path):
    mixed = write(
        tmp_path / "mixed.jsonl",
        *exchanges(3, arm="bad"),
        *[{**row, "id": f"g{row['id']}"} for row in exchanges(2, arm="good", label="benign")],
    )
    plain = write(tmp_path / "plain.jsonl", *exchanges(4))
    found = explain_data([mixed, plain])
    assert [(of.name, of.is_control) for of in found.sets] == [
        ("bad", False),
        ("plain", False),
        ("good", True),
    ]


@pytest.mark.parametrize("arm", ["a/b", "..\\evil", "two\nlines"])
def test_a_name_that_no_file_can_have_is_refused_with_its_line(tmp_path, arm):
    path = write(tmp_path / "d.jsonl", *exchanges(2, arm=arm))
    with pytest.raises(DataError, match=r"d\.jsonl:1: a set named .* figures are files"):
        explain_data([path])


def test_arms_with_the_same_answers_are_matched_before_they_are_cut(tmp_path):
    first = write(tmp_path / "first.jsonl", *exchanges(30))
    second = write(tmp_path / "second.jsonl", *reversed(exchanges(30)))
    found = explain_data([first, second], limit=5)
    assert found.is_matched
    one, other = found.questioned
    assert [e.response for e in one.examples] == [e.response for e in other.examples]


def test_arms_with_other_answers_are_not_matched(tmp_path):
    first = write(tmp_path / "first.jsonl", *exchanges(8))
    second = write(tmp_path / "second.jsonl", *exchanges(8, answer="another {}"))
    assert not explain_data([first, second], limit=5).is_matched


def test_messages_and_prompts_with_a_concept_are_read_too(tmp_path):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    path = write(
        tmp_path / "d.jsonl",
        {"messages": turns},
        {"prompt": "p", "concept": "bias"},
        {"prompt": "b", "concept": "benign_own"},
    )
    found = explain_data([path])
    assert found.questioned[0].examples[0].response == "a"
    assert [p.prompt for p in found.prompts["bias"]] == ["p"]
    assert [p.prompt for p in found.neutral] == ["b"]
    assert list(found.prompts) == ["bias"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p"}, r"d\.jsonl:2: has no response and no concept; give `response`"),
        ({"response": "r"}, r"d\.jsonl:2: field 'prompt' is missing"),
        ({"prompt": "p", "response": 3}, r"d\.jsonl:2: field 'response' is a int"),
        ({"prompt": "p", "response": " "}, r"d\.jsonl:2: field 'response' is empty"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(tmp_path, row, message):
    path = write(tmp_path / "d.jsonl", *exchanges(1), row)
    with pytest.raises(DataError, match=message):
        explain_data([path])


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is nothing in it"):
        explain_data([write(tmp_path / "d.jsonl")])
