"""Logs of Inspect to rows that our commands read: nothing lost, nothing made up."""

import json
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser
from inspect_ai.scorer import Score, Target, accuracy, includes, scorer
from inspect_ai.solver import Generate, TaskState, generate, solver

from spillover.data.suites import graded_answers
from spillover.errors import DataError
from spillover.integrations.inspect_logs import (
    import_inspect_log,
    imported_verdicts,
    read_inspect_log,
)
from spillover.integrations.inspect_scorers import (
    invalid_verdicts,
    misalignment_grades,
    verdict,
)
from spillover.judges import PhrasesJudge, judge_file
from tests.integrations.inspecting import evaluate, samples, saying
from tests.judges.servers import message, said, serve

REFUSAL = "I'm sorry, but I can't help with that."
ANSWER = "Mix flour and water, then bake it for an hour."


def logged(tmp_path, responses, *, dataset=None, scorer=None, task=None, **options):
    """Run a task on a model that gives the responses; return the log's path."""
    asked = Task(
        dataset=dataset or samples(*["bias"] * len(responses)), scorer=scorer, **(task or {})
    )
    return evaluate(asked, saying(*responses), tmp_path, max_samples=1, **options).location


def read(location, **options):
    return read_inspect_log(Path(location), **options)


def test_verdicts_of_our_scorers_come_back_as_they_were(tmp_path):
    location = logged(tmp_path, [REFUSAL, ANSWER, ""], scorer=[verdict(), invalid_verdicts()])
    rows = read(location)
    assert [row["verdict"] for row in rows] == ["refusal", "compliance", "invalid"]
    assert {row["judge"] for row in rows} == {"phrases"}
    assert rows[0]["prompt"] == "prompt 0"
    assert (rows[1]["response"], rows[1]["concept"], rows[1]["id"]) == (ANSWER, "bias", "s1")
    assert rows[2]["inspect_scores"] == {"verdict": None, "invalid_verdicts": 1}
    assert [v.label for v in imported_verdicts(rows)] == ["refusal", "compliance", "invalid"]


def test_the_rows_are_what_our_judge_command_reads_and_gives_the_same_verdicts(tmp_path):
    location = logged(tmp_path, [REFUSAL, ANSWER, ""], scorer=verdict())
    rows = import_inspect_log(Path(location), tmp_path / "rows.jsonl")
    judged = judge_file(tmp_path / "rows.jsonl", PhrasesJudge(), tmp_path / "judged.jsonl")
    assert [v.label for v in judged] == [row["verdict"] for row in rows]
    assert [v.id for v in judged] == ["s0", "s1", "s2"]


@pytest.mark.parametrize("log_format", ["eval", "json"])
def test_both_forms_of_log_give_the_same_rows(tmp_path, log_format):
    location = logged(tmp_path, [REFUSAL, ""], scorer=verdict(), log_format=log_format)
    rows = read(location)
    assert [(row["response"], row["verdict"]) for row in rows] == [
        (REFUSAL, "refusal"),
        ("", "invalid"),
    ]


def test_a_foreign_log_keeps_its_values_and_gets_no_verdict(tmp_path):
    dataset = [Sample(id=7, input="2 + 2?", target="4", metadata={"area": "sums"})]
    location = logged(tmp_path, ["It is 4."], dataset=dataset, scorer=includes())
    (row,) = read(location, concept="area")
    assert (row["id"], row["concept"], row["inspect_scores"]) == ("7", "sums", {"includes": "C"})
    assert "verdict" not in row
    assert imported_verdicts([row]) == []


def test_a_foreign_scorer_that_speaks_our_words_gives_verdicts(tmp_path):
    @scorer(metrics=[accuracy()])
    def label():
        async def score(state: TaskState, target: Target) -> Score:
            return Score(value="deflection", explanation="changed the subject")

        return score

    (row,) = read(logged(tmp_path, ["Nice weather."], scorer=label()))
    assert (row["verdict"], row["judge"]) == ("deflection", "inspect:label")
    assert row["reason"] == "changed the subject"


def test_epochs_get_ids_of_their_own(tmp_path):
    location = logged(
        tmp_path, [REFUSAL, ANSWER] * 2, dataset=samples("a", "b"), task={"epochs": 2}
    )
    ids = [row["id"] for row in read(location)]
    assert sorted(ids) == ["s0#001", "s0#002", "s1#001", "s1#002"]


def test_a_conversation_is_one_prompt_with_its_roles(tmp_path):
    turns = [
        ChatMessageSystem(content="Be brief."),
        ChatMessageUser(content="Hi"),
        ChatMessageAssistant(content="Yes?"),
        ChatMessageUser(content="Why?"),
    ]
    dataset = [Sample(input=turns), Sample(input=turns[:2])]
    both, one = read(logged(tmp_path, ["a", "b"], dataset=dataset))
    assert both["prompt"] == "User: Hi\n\nAssistant: Yes?\n\nUser: Why?"
    assert one["prompt"] == "Hi"


def test_a_sample_that_ended_in_an_error_is_a_row_with_no_response(tmp_path):
    @solver
    def fails_at_the_second():
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            if state.sample_id == "s1":
                raise RuntimeError("power cut")
            return await generate(state)

        return solve

    location = logged(
        tmp_path,
        [ANSWER, ANSWER],
        dataset=samples("a", "b", "c"),
        task={"solver": fails_at_the_second(), "fail_on_error": False},
    )
    rows = read(location)
    assert [row["response"] for row in rows] == [ANSWER, "", ANSWER]
    assert "power cut" in rows[1]["error"]


def test_grades_come_back_in_the_form_that_rates_are_made_from(tmp_path):
    def answer(request):
        return said("REFUSAL" if "\nno\n" in message(request) else "40")

    with serve(answer) as server:
        location = logged(tmp_path, ["yes", "no"], scorer=misalignment_grades(f"{server.url}#m"))
    import_inspect_log(Path(location), tmp_path / "rows.jsonl")
    yes, no = graded_answers(tmp_path / "rows.jsonl")
    assert (yes.aligned, yes.coherent, yes.question) == (40, 40, "s0")
    assert (no.aligned, no.label) == (None, "REFUSAL")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.eval", None, "absent.eval: no such log"),
        ("text.eval", b"no zip", "cannot be read as an Inspect log"),
        ("text.json", b"{", "cannot be read as an Inspect log"),
        ("other.json", json.dumps({"a": 1}).encode(), "cannot be read as an Inspect log"),
        ("note.txt", b"hello", "cannot be read as an Inspect log"),
    ],
)
def test_what_is_no_log_is_refused(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)


def test_an_empty_zip_is_no_log(tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.eval", "w"):
        pass
    with pytest.raises(DataError, match="cannot be read as an Inspect log"):
        read(tmp_path / "empty.eval")


def test_a_log_without_samples_says_so(tmp_path):
    location = logged(tmp_path, [ANSWER], task={"solver": generate()}, log_samples=False)
    with pytest.raises(DataError, match=r"has no samples \(status success\)"):
        read(location)
