"""Every format to the same rows, and every fault to a message with its place."""

import json

import pandas as pd
import pytest

from spillover.data.suites.rows import read_rows
from spillover.errors import DataError
from tests.data.files import jsonl

ROWS = [{"id": "1", "prompt": "Hi, there"}, {"id": "2", "prompt": 'A "quote"\nand a line'}]


def written(folder, suffix):
    path = folder / f"rows{suffix}"
    if suffix == ".jsonl":
        return jsonl(path, *ROWS)
    if suffix == ".json":
        path.write_text(json.dumps(ROWS))
    elif suffix == ".parquet":
        pd.DataFrame(ROWS).to_parquet(path)
    else:
        pd.DataFrame(ROWS).to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".parquet"])
def test_every_format_gives_the_same_rows(tmp_path, suffix):
    rows = read_rows(written(tmp_path, suffix))
    assert [dict(row.values) for row in rows] == ROWS
    assert [row.number for row in rows] == [1, 2]
    assert all(f"rows{suffix}" in row.where for row in rows)


def test_a_json_object_with_one_list_of_texts_gives_prompts(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"name": "x", "instructions": ["Do this.", "Do that."]}))
    assert [row.text("prompt") for row in read_rows(path)] == ["Do this.", "Do that."]


def test_the_first_column_with_text_is_taken(tmp_path):
    row = read_rows(jsonl(tmp_path / "a.jsonl", {"a": None, "b": "  ", "c": " x "}))[0]
    assert row.text("a", "b", "c") == "x"
    with pytest.raises(DataError, match=r"a\.jsonl:1: none of the columns a, b holds text"):
        row.text("a", "b")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "x", "files that end in '.txt' are not read; give one of .jsonl"),
        ("a.csv", "id,prompt\n", "there are no rows in it"),
        ("a.json", "[]", "there are no rows in it"),
        ("a.json", '{"a": [1], "b": [2]}', "must be a list of rows, or an object that holds one"),
        ("a.json", "[1]", "row 1: a int; rows must be objects"),
        ("a.csv", 'id,prompt\n1,"unfinished', "not valid CSV"),
        ("a.csv", "id,prompt\n1,one, two\n", r"a\.csv:2: has more cells than the header"),
        ("a.parquet", "no parquet", "not valid Parquet"),
        ("a.csv", "id,prompt\n1,\udcff", "is not UTF-8"),
    ],
)
def test_bad_files_are_named_with_the_rule(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content.encode("utf-8", errors="surrogateescape"))
    with pytest.raises(DataError, match=message):
        read_rows(path)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfid,prompt\n1,Hi\n")
    assert dict(read_rows(path)[0].values) == {"id": "1", "prompt": "Hi"}
