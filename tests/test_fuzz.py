"""Whatever stands in a file of the user's, a reader returns records or says what is wrong."""

import itertools
import json

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spillover.data import load_prompts
from spillover.data.contrast_texts import load_contrast_texts
from spillover.data.conversations import load_conversations
from spillover.data.prompt_sets import load_examples
from spillover.data.questions import load_questions
from spillover.data.suites.open_questions import published_questions
from spillover.data.suites.rows import read_rows
from spillover.errors import SpilloverError
from spillover.files import parse_yaml, read_journal, read_json, read_jsonl
from spillover.judges import PhrasesJudge, judge_file, make_judge
from spillover.judges.labels import load_labels
from spillover.judges.rubric_files import load_rubric
from spillover.study.artifacts import load_comparisons, load_scores, load_verdict_file
from spillover.study.artifacts.version import found_versions
from spillover.study.audit.gate import Gate, load_gate
from spillover.study.audit.outputs import load_audit
from spillover.study.config import StudyConfig, load_study

JSONL_READERS = {
    "prompts": load_prompts,
    "examples": load_examples,
    "conversations": lambda path: load_conversations(path, concept="c"),
    "questions": load_questions,
    "labels": load_labels,
    "contrasts": load_contrast_texts,
    "rows": read_rows,
    "judge": lambda path: judge_file(path, PhrasesJudge(), path.with_suffix(".out")),
    "journal": read_journal,
    "verdicts": load_verdict_file,
}
JSON_READERS = {
    "json": read_json,
    "scores": load_scores,
    "comparisons": load_comparisons,
    "audit": load_audit,
    "rows": read_rows,
}
TEXT_FIELDS = ("id", "prompt", "response", "completion", "concept", "split", "question", "answer")
OTHER_FIELDS = (
    "messages",
    "choices",
    "label",
    "aligned",
    "misaligned",
    "coherent",
    "role",
    "content",
)
FIELDS = (*TEXT_FIELDS, *OTHER_FIELDS)
DEEP = b"[" * 100_000
LONG_NUMBER = b'{"id": ' + b"9" * 5000 + b"}"

_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    _LEAVES | st.sampled_from(["safety", "refuse", "A", "\ud800", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3)
    ),
    max_leaves=6,
)
ROWS = st.lists(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6) | VALUES, max_size=3)
NASTY_YAML = (
    "&a [*a]",
    "a: &a {b: *a}",
    "!!timestamp soon",
    "!!int x",
    "!!float x",
    "!!bool maybe",
    "!!binary \u00fc",
    "!!python/object/apply:os.getcwd []",
    "name: 2001-99-99",
    "? [a]\n: b",
    "? {a: b}\n: c",
    "=",
    "9" * 5000,
    "[" * 5000,
    # Eight levels of aliases, each eight times the one before: two million values.
    "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n"
    + "\n".join(
        f"{name}: &{name} [{', '.join([f'*{inner}'] * 8)}]"
        for inner, name in itertools.pairwise("abcdefgh")
    ),
    "\x00",
    "--- a\n--- b",
    "%YAML 9.9",
)
quick = settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def read_or_refuse(read, path):
    """Return what the reader gave, or the message of an error that is ours."""
    try:
        return read(path)
    except SpilloverError as error:
        return error


@pytest.mark.parametrize("read", JSONL_READERS.values(), ids=JSONL_READERS)
@given(content=st.binary(max_size=60) | ROWS)
@example(content=DEEP)
@example(content=LONG_NUMBER)
@example(content=b'{"id": 1e999, "prompt": NaN}')
@quick
def test_any_lines_give_records_or_a_refusal(read, tmp_path, content):
    path = tmp_path / "f.jsonl"
    if isinstance(content, list):
        content = "".join(json.dumps(row) + "\n" for row in content).encode()
    path.write_bytes(content)
    found = read_or_refuse(read, path)
    assert isinstance(found, (list, SpilloverError)) or found.responses or found.misaligned


def test_one_bad_line_is_named_by_its_number(tmp_path):
    (tmp_path / "f.jsonl").write_bytes(b'{"a": 1}\n\n' + LONG_NUMBER)
    with pytest.raises(SpilloverError, match=r"f\.jsonl:3: JSON that cannot be read"):
        list(read_jsonl(tmp_path / "f.jsonl"))


@pytest.mark.parametrize("read", JSON_READERS.values(), ids=JSON_READERS)
@given(content=st.binary(max_size=60) | VALUES | ROWS)
@example(content=DEEP)
@example(content=LONG_NUMBER)
@quick
def test_any_document_gives_records_or_a_refusal(read, tmp_path, content):
    path = tmp_path / "f.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    found = read_or_refuse(read, path)
    assert not isinstance(found, SpilloverError) or "f.json" in str(found)


@given(text=st.text(alphabet='a,"\n\r\t;\u00fc\x00', max_size=40))
@quick
def test_any_table_gives_rows_or_a_refusal(tmp_path, text):
    path = tmp_path / "f.csv"
    path.write_bytes(text.encode())
    found = read_or_refuse(read_rows, path)
    assert isinstance(found, (list, SpilloverError))


YAML_READERS = {
    "gate.yaml": (lambda path: load_gate(str(path)), Gate),
    "study.yaml": (load_study, StudyConfig),
    "judge.yaml": (lambda path: make_judge(str(path)).name, str),
    "questions.yaml": (published_questions, list),
}


@pytest.mark.parametrize("name", YAML_READERS)
@pytest.mark.parametrize("text", NASTY_YAML)
def test_yaml_that_trips_its_own_parser_is_refused(tmp_path, name, text):
    read, _ = YAML_READERS[name]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert isinstance(read_or_refuse(read, path), SpilloverError)


@pytest.mark.parametrize("name", YAML_READERS)
@given(
    content=st.binary(max_size=60)
    | st.dictionaries(
        st.sampled_from([*StudyConfig.model_fields, "kind", "rubric", "model", "votes", "judges"]),
        VALUES,
        max_size=5,
    )
    | ROWS
)
@quick
def test_any_yaml_is_read_or_refused(tmp_path, name, content):
    read, kind = YAML_READERS[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else dumped(content))
    assert isinstance(read_or_refuse(read, path), (kind, SpilloverError))


def dumped(content):
    return yaml.safe_dump(content, allow_unicode=False).encode("utf-8", errors="replace")


@given(override=st.text(max_size=20) | st.sampled_from([f"seeds={text}" for text in NASTY_YAML]))
@quick
def test_any_override_is_taken_or_refused(override):
    found = read_or_refuse(lambda name: load_study(name, overrides=[override]), "quickstart")
    assert isinstance(found, (StudyConfig, SpilloverError))


@given(text=st.text(max_size=60) | st.sampled_from([f"---\n{t}\n---\nx" for t in NASTY_YAML]))
@quick
def test_any_rubric_is_read_or_refused(tmp_path, text):
    path = tmp_path / "r.txt"
    path.write_bytes(text.encode("utf-8", errors="replace"))
    assert isinstance(read_or_refuse(load_rubric, str(path)), SpilloverError)


def test_an_alias_may_stand_for_something_twice_but_not_for_itself():
    assert parse_yaml("a: &x [1]\nb: *x", where="f") == {"a": [1], "b": [1]}
    with pytest.raises(SpilloverError, match="f: YAML that cannot be read"):
        parse_yaml("&a [*a]", where="f")


def test_marks_of_any_content_name_no_version_or_are_refused(tmp_path):
    from spillover.study.artifacts import RunFolder

    (tmp_path / "stages").mkdir()
    for content in ("[]", "{}", '{"spillover": null}', '"x"'):
        (tmp_path / "stages" / "a.json").write_text(content)
        assert found_versions(RunFolder(tmp_path)) == ()
