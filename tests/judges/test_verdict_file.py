"""Judging a file of responses: what is kept, what is added, and which rows are refused."""

import json

import pytest

from spillover.errors import DataError
from spillover.judges import PhrasesJudge, judge_file

GOOD = '{"prompt": "p", "response": "Paris."}\n'


def test_rows_are_written_back_with_verdict_judge_and_reason(tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "sub" / "out.jsonl"
    rows = [
        {"prompt": "a?", "response": "I can't help with that.", "id": "x", "concept": "bias"},
        {"prompt": "b?", "response": "Paris.", "extra": [1, "\u2028"]},
        {"prompt": "c?", "response": ""},
    ]
    source.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    verdicts = judge_file(source, PhrasesJudge(), out)
    written = [json.loads(line) for line in out.read_text("utf-8").split("\n") if line]
    added = ("verdict", "judge", "reason")
    assert [{k: v for k, v in row.items() if k not in added} for row in written] == rows
    assert [tuple(row[key] for key in added) for row in written] == [
        ("refusal", "phrases", 'declines: "i can\'t help"'),
        ("compliance", "phrases", "no refusal found"),
        ("invalid", "phrases", "empty response"),
    ]
    assert [(v.id, v.concept, v.label) for v in verdicts] == [
        ("x", "bias", "refusal"),
        ("3", "", "compliance"),
        ("5", "", "invalid"),
    ]


def test_the_file_may_be_judged_in_place_and_twice_gives_the_same(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(GOOD)
    judge_file(path, PhrasesJudge(), path)
    once = path.read_bytes()
    judge_file(path, PhrasesJudge(), path)
    assert path.read_bytes() == once


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"prompt": "p"}\n', r"rows\.jsonl:2: no field 'response' \(found: prompt\)"),
        (b'{"response": "r"}\n', r"rows\.jsonl:2: no field 'prompt'"),
        (b"{}\n", r"rows\.jsonl:2: no field 'prompt' \(found: none\)"),
        (
            b'{"prompt": "p", "response": 3}\n',
            r"rows\.jsonl:2: field 'response' is of type int; it must be a string",
        ),
        (b'{"prompt": null, "response": "r"}\n', r"rows\.jsonl:2: field 'prompt' .*NoneType"),
        (
            b'{"prompt": "p", "response": "r", "id": 7}\n',
            r"rows\.jsonl:2: field 'id' is of type int",
        ),
        (b'{"prompt": "p", "concept": null, "response": "r"}\n', r"rows\.jsonl:2: field 'concept'"),
        (b'{"prompt": "p", "respon\n', r"rows\.jsonl:2: not valid JSON"),
        (b'["p", "r"]\n', r"rows\.jsonl:2: a list; each line must be one JSON object"),
        (b'{"prompt": "\xff"}\n', r"rows\.jsonl:2: byte 0xff is not UTF-8"),
    ],
)
def test_a_broken_row_is_refused_by_file_and_line_and_nothing_is_written(
    tmp_path, content, message
):
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(GOOD.encode() + content + GOOD.encode())
    with pytest.raises(DataError, match=message):
        judge_file(source, PhrasesJudge(), out)
    assert not out.exists()


def test_a_file_that_is_missing_or_has_no_rows_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        judge_file(tmp_path / "none.jsonl", PhrasesJudge(), tmp_path / "out.jsonl")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n \n")
    with pytest.raises(DataError, match=r"empty\.jsonl: has no rows"):
        judge_file(empty, PhrasesJudge(), tmp_path / "out.jsonl")
