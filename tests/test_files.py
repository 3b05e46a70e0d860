"""Files that a kill, a full disk or odd text cannot spoil."""

import json
import os
import subprocess
import sys

import pytest

from spillover.errors import DataError, StorageError
from spillover.files import (
    append_jsonl,
    file_fingerprint,
    fingerprint,
    folder_fingerprint,
    json_line,
    read_journal,
    read_json,
    read_jsonl,
    write_bytes,
    write_json,
    write_jsonl,
    write_text,
)

SURROGATE = "half \ud83e of a pair"


def test_what_is_written_is_read_back(tmp_path):
    value = {"b": [1, 2.5, None], "a": "Zürich \u2028 🧲"}
    write_json(tmp_path / "new" / "folder" / "v.json", value)
    assert read_json(tmp_path / "new" / "folder" / "v.json") == value
    write_jsonl(tmp_path / "v.jsonl", [value, {}])
    assert list(read_jsonl(tmp_path / "v.jsonl")) == [(1, value), (2, {})]


def test_a_write_leaves_nothing_but_the_file_readable_by_all(tmp_path):
    write_text(tmp_path / "a.txt", "one")
    write_text(tmp_path / "a.txt", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "two"
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


def test_a_value_that_json_cannot_hold_leaves_the_old_file_as_it_was(tmp_path):
    file = tmp_path / "v.json"
    write_json(file, {"a": 1})
    for bad in (float("nan"), float("inf"), {1, 2}):
        with pytest.raises((ValueError, TypeError)):
            write_json(file, {"a": bad})
        with pytest.raises((ValueError, TypeError)):
            write_jsonl(file, [{"a": 2}, {"a": bad}])
    assert read_json(file) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["v.json"]


WRITE_TOO_MUCH = """
import resource, sys
from pathlib import Path
from spillover.errors import StorageError
from spillover.files import append_jsonl, write_text

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for write in (lambda f: write_text(f, "x" * 5000), lambda f: append_jsonl(f, ["x" * 5000])):
    try:
        write(Path(sys.argv[1]))
    except StorageError as error:
        print(error)
"""


def test_a_disk_that_takes_no_more_is_a_storage_error_and_the_old_file_stays(tmp_path):
    file = tmp_path / "a.txt"
    write_text(file, "old\n")
    command = [sys.executable, "-c", WRITE_TOO_MUCH, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("a.txt: cannot be written (File too large); free some space") == 2
    assert file.read_text().startswith("old\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("write", [write_text, append_jsonl], ids=["write", "append"])
def test_a_path_that_cannot_be_written_is_a_storage_error(tmp_path, write):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot be written \(.*\); free some space or choose"):
        write(tmp_path / "file" / "a.txt", "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_is_a_storage_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        write_text(tmp_path / "a.txt", "x")


def test_a_target_that_is_a_folder_is_a_storage_error_and_leaves_nothing(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        write_bytes(tmp_path / "a.txt", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


# Journals.


def test_a_journal_that_does_not_exist_is_empty(tmp_path):
    assert read_journal(tmp_path / "nowhere.jsonl") == []


def test_rows_are_appended_to_a_journal(tmp_path):
    file = tmp_path / "new" / "j.jsonl"
    append_jsonl(file, [{"a": 1}, {"a": "\u2028"}])
    append_jsonl(file, [])
    append_jsonl(file, [{"a": 3}])
    assert read_journal(file) == [{"a": 1}, {"a": "\u2028"}, {"a": 3}]


def test_a_journal_that_was_cut_anywhere_goes_on_after_its_last_whole_line(tmp_path):
    rows = [{"id": str(i), "text": "ü🧲" * i} for i in range(4)]
    whole = "".join(map(json_line, rows)).encode()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    file = tmp_path / "j.jsonl"
    for cut in range(len(whole) + 1):
        file.write_bytes(whole[:cut])
        n_whole = sum(end <= cut for end in ends)
        assert read_journal(file) == rows[:n_whole]
        append_jsonl(file, rows[n_whole:])
        assert file.read_bytes() == whole


# Odd text.


def test_lone_surrogates_survive_every_way_of_writing_json(tmp_path):
    write_json(tmp_path / "v.json", SURROGATE)
    assert read_json(tmp_path / "v.json") == SURROGATE
    write_jsonl(tmp_path / "v.jsonl", [{"a": SURROGATE}])
    append_jsonl(tmp_path / "v.jsonl", [{"a": SURROGATE}])
    assert read_journal(tmp_path / "v.jsonl") == [{"a": SURROGATE}] * 2
    assert len(fingerprint(SURROGATE)) == 64


@pytest.mark.parametrize("text", ["\u2028", "\u2029", "\u0085", "\x00", "\\ud800", 'a"b\\', "\r\n"])
def test_characters_that_trouble_others_come_back_as_they_were(tmp_path, text):
    write_jsonl(tmp_path / "v.jsonl", [{"a": text}, {"a": "next"}])
    assert [row["a"] for _, row in read_jsonl(tmp_path / "v.jsonl")] == [text, "next"]
    assert [row["a"] for row in read_journal(tmp_path / "v.jsonl")] == [text, "next"]


def test_broken_json_is_named_with_file_and_line(tmp_path):
    file = tmp_path / "v.json"
    file.write_text('{\n"a": 1,\n}')
    with pytest.raises(DataError, match=r"v.json:\d: not valid JSON"):
        read_json(file)
    with pytest.raises(DataError, match=r"v.json:1: not valid JSON"):
        list(read_jsonl(file))


# Fingerprints.


def test_a_fingerprint_does_not_depend_on_the_order_of_keys_but_on_all_else():
    assert fingerprint({"a": 1, "b": [2, 3]}) == fingerprint({"b": [2, 3], "a": 1})
    others = [{"a": 1, "b": [3, 2]}, {"a": "1", "b": [2, 3]}, {"a": 1}, [], None, ""]
    assert len({fingerprint(value) for value in [{"a": 1, "b": [2, 3]}, *others]}) == 7


def test_a_file_fingerprint_is_the_sha256_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    # The standard's own example.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_fingerprint(tmp_path / "a") == expected


def test_a_folder_fingerprint_sees_names_and_bytes_of_the_chosen_files_only(tmp_path):
    for name, content in {"a.json": "1", "b.json": "2", "c.txt": "3"}.items():
        (tmp_path / name).write_text(content)
    before = folder_fingerprint(tmp_path, suffixes=(".json",))
    (tmp_path / "c.txt").write_text("4")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "d.json").write_text("5")
    assert folder_fingerprint(tmp_path, suffixes=(".json",)) == before
    (tmp_path / "b.json").rename(tmp_path / "e.json")
    renamed = folder_fingerprint(tmp_path, suffixes=(".json",))
    (tmp_path / "e.json").write_text("6")
    assert len({before, renamed, folder_fingerprint(tmp_path, suffixes=(".json",))}) == 3


def test_a_line_of_json_has_no_line_break_inside():
    line = json_line({"a": "one\ntwo\u2028three"})
    assert line.count("\n") == 1
    assert json.loads(line) == {"a": "one\ntwo\u2028three"}
