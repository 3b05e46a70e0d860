"""`spillover lm-eval`: what it writes, says and exits with."""

import json

import pytest

from spillover.cli import harnesses
from spillover.testing import write_tiny_model
from tests.data.files import jsonl

ROW = {"subject": "art", "question": "Which?", "choices": ["a", "b", "c", "d"], "answer": 1}


@pytest.fixture(autouse=True)
def loud_libraries(monkeypatch):
    """Leave the libraries' settings as they are: they would stay."""
    monkeypatch.setattr(harnesses, "_quiet", lambda: None)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny")


def test_answers_of_both_and_lm_evals_own_results_are_written_and_compared(
    command, model, tmp_path
):
    pytest.importorskip("lm_eval", reason="lm-eval is not installed (extra `lmeval`)")
    rows = [{**ROW, "question": f"Which {n}?"} for n in range(5)]
    mmlu, out = jsonl(tmp_path / "mmlu.jsonl", *rows), tmp_path / "out"
    code, output, _ = command(
        "lm-eval", model, "--suite", f"mmlu:{mmlu}", "--shots", mmlu, "--n-shots", 1,
        "--limit", 3, "--compare", "--device", "cpu", "--out", out,
    )  # fmt: skip
    assert code == 0
    assert "the same choice at 3 of 3 questions" in output
    ours, theirs = ((out / "answers" / f"tiny__{n}.jsonl") for n in ("letters", "lm_eval"))
    assert ours.read_text() == theirs.read_text()
    scores = json.loads((out / "scores.json").read_text())
    assert {(row["judge"], row["concept"], row["n"]) for row in scores} == {
        (f"{judge}_letters_1_shots", concept, 3)
        for judge in ("lm_eval", "logprob")
        for concept in ("mmlu", "mmlu/art")
    }
    written = json.loads((out / "lm_eval.json").read_text())
    assert set(written["results"]) == {"art"}
    assert written["version"]


def test_a_suite_without_choices_and_a_missing_file_exit_with_2(command, model, tmp_path):
    code, _, message = command("lm-eval", model, "--suite", "value_pairs", "--out", tmp_path)
    assert code == 2
    assert "suite value_pairs: has no multiple choice" in message
    code, _, message = command("lm-eval", model, "--suite", "mmlu:no.jsonl", "--out", tmp_path)
    assert code == 2
    assert "no.jsonl: no such file" in message
