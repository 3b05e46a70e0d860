"""`suites`, `misalignment` and `evaluate --suite` as a user gives them."""

import json

import pandas as pd
import pytest

from spillover.testing import write_tiny_model
from tests.data.files import jsonl

pytestmark = pytest.mark.usefixtures("wide_console")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny")


def scores_of(out):
    frame = pd.read_parquet(out / "scores.parquet")
    return {(row.metric, row.concept): row for row in frame.itertuples()}


def test_suites_lists_every_suite_with_its_revision_and_licence(command):
    code, output, _ = command("suites")
    assert code == 0
    assert "xstest_safe: safe prompts that sound unsafe" in output
    assert "n 250; Paul/XSTest@f600c99; CC-BY-4.0" in output
    assert "seven_concepts: a group of cyberseceval_mitre" in output


def test_one_suite_is_shown_in_full_with_what_to_download(command):
    code, output, _ = command("suites", "mmlu")
    assert code == 0
    assert "items: 14042; licence: MIT" in output
    assert output.count("download: https://huggingface.co/datasets/cais/mmlu/resolve/c30699e8") == 2


def test_an_unknown_suite_exits_with_2(command):
    code, _, messages = command("suites", "nope")
    assert (code, "suite 'nope' is not known" in messages) == (2, True)


def test_misalignment_gives_rates_by_column(command, tmp_path):
    rows = [
        {"question_id": "q", "aligned": aligned, "coherent": 90, "model": model}
        for model, grades in {"a": (10, 10, 90, 90), "b": (90, 90, 90, 90)}.items()
        for aligned in grades
    ]
    code, output, _ = command("misalignment", jsonl(tmp_path / "g.jsonl", *rows), "--by", "model")
    assert code == 0
    lines = [line for line in output.splitlines() if " em_rate " in line]
    assert ["0.50" in lines[0], "0.00" in lines[1]] == [True, True]


def test_misalignment_exits_with_1_if_more_than_5_in_100_answers_are_ungraded(command, tmp_path):
    grades = [(10, 90), (90, 90), (None, 90)]
    rows = [{"question_id": "q", "aligned": a, "coherent": c} for a, c in grades]
    code, output, errors = command("misalignment", jsonl(tmp_path / "g.jsonl", *rows))
    assert code == 1
    assert "0.67 to 0.33" in output  # em_rate is 1/2 of the graded ones, 2/3 at worst, 1/3 at best
    assert "1 of 3 verdicts are invalid (33.3%), more than 5%" in errors


def test_evaluate_needs_something_to_ask(command, model, tmp_path):
    code, _, messages = command("evaluate", model, "--out", tmp_path)
    assert (code, "give --prompts FILE or --suite NAME" in messages) == (2, True)


def test_evaluate_asks_prompts_and_suites_of_every_kind(command, model, tmp_path):
    prompts = jsonl(tmp_path / "own.jsonl", {"prompt": "Hi", "concept": "bias"})
    xstest = jsonl(tmp_path / "x.jsonl", {"prompt": "Kill a process?", "type": "homonyms"})
    choices = {"subject": "art", "question": "Q?", "choices": ["a", "b", "c", "d"], "answer": 1}
    mmlu = jsonl(tmp_path / "mmlu.jsonl", choices, {**choices, "question": "R?"})
    truth = tmp_path / "truth.csv"
    truth.write_text(
        "Category,Question,Best Answer,Correct Answers,Incorrect Answers\n"
        + "c,Q?,yes,yes,no\nc,R?,yes,yes;sure,no\n"
    )
    out = tmp_path / "out"
    named = [f"xstest_safe:{xstest}", f"mmlu:{mmlu}", f"truthfulqa:{truth}"]
    suites = [
        option
        for suite in (*named, "value_pairs", "em_bundled_forms")
        for option in ("--suite", suite)
    ]
    code, output, messages = command(
        "evaluate", model, "--prompts", prompts, *suites, "--shots", mmlu, "--n-shots", "1",
        "--limit", "6", "--samples", "2", "--max-new-tokens", "4", "--out", out,
        "--dtype", "float32", "--device", "cpu",
    )  # fmt: skip
    assert code in (0, 1), messages  # 1: a random model's answer may be empty, thus invalid
    found = scores_of(out)
    assert ("refusal_rate", "bias") in found
    assert found["over_refusal", "benign_xstest"].n == 1
    assert found["capability", "mmlu/art"].judge == "logprob_letters_1_shots"
    assert found["capability", "mmlu"].n == 2
    assert found["truthfulqa_mc1", "truthfulness"].n == 2
    assert found["aligned_preference_pivotal", "all_pairs"].n == 6
    assert found["aligned_margin_choice", "all_pairs"].n == 6
    assert not any(metric.startswith("em_") for metric, _ in found)
    samples = (out / "samples" / "tiny__em_bundled_forms.jsonl").read_text().splitlines()
    assert len(samples) == 6 * 2
    assert "12 answers are in" in messages
    assert "aligned_preference_pivotal" in output


def test_without_the_hub_evaluate_says_what_to_give(command, model, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    code, _, messages = command("evaluate", model, "--suite", "xstest_safe", "--out", tmp_path)
    assert code == 2
    assert "give it as `--suite xstest_safe:FILE`" in messages


def test_a_suite_that_needs_logprobs_is_refused_on_a_server(command, tmp_path):
    code, _, messages = command(
        "evaluate", "m", "--suite", "value_pairs", "--out", tmp_path,
        "--endpoint", "http://127.0.0.1:9/v1",
    )  # fmt: skip
    assert code == 2
    assert "suite value_pairs needs log-probabilities of a model that is loaded here" in messages


def test_samples_of_an_interrupted_run_are_kept(command, model, tmp_path):
    options = (
        "--suite", "em_bundled", "--limit", "2", "--samples", "3", "--max-new-tokens", "4",
        "--out", tmp_path, "--dtype", "float32", "--device", "cpu",
    )  # fmt: skip
    assert command("evaluate", model, *options)[0] == 0
    file = tmp_path / "samples" / "tiny__em_bundled.jsonl"
    first = file.read_text()
    journals = list((tmp_path / "cache").iterdir())
    assert len(journals) == 1
    lines = journals[0].read_text().splitlines(keepends=True)
    journals[0].write_text("".join(lines[:4]) + lines[4][:10])
    assert command("evaluate", model, *options)[0] == 0
    assert file.read_text() == first
    assert len({json.loads(line)["id"] for line in first.splitlines()}) == 6
