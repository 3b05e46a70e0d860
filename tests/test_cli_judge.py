"""`spillover judge` with a judge that has settings: what it writes, says and exits with."""

import json

import pytest

from tests.data.files import jsonl
from tests.judges.responses import DEFLECTIONS
from tests.judges.servers import Sent, message, said, serve

pytestmark = pytest.mark.usefixtures("wide_console")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Keep verdicts of one test from another."""
    monkeypatch.setenv("SPILLOVER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def file(tmp_path):
    rows = [{"prompt": "p", "response": f"answer {n}", "concept": "safety"} for n in range(20)]
    path = tmp_path / "said.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_scores_are_written_usage_is_said_and_a_second_run_asks_nothing(command, file, tmp_path):
    out = tmp_path / "out.jsonl"
    with serve(lambda request: said("85")) as server:
        spec = f"llm:alignment@{server.url}#m"
        code, output, _ = command("judge", file, "--judge", spec, "--out", out)
        assert (code, len(server.requests)) == (0, 20)
        assert output.startswith("20 rows: 20 compliance\nused: 20 asked, 0 cached, 0 unanswered")
        _, output, _ = command("judge", file, "--judge", spec, "--out", out)
        assert len(server.requests) == 20
    assert "0 asked, 20 cached" in output
    assert {(row["verdict"], row["verdict_score"]) for row in rows_of(out)} == {("compliance", 85)}
    assert rows_of(out)[0]["judge"] == "llm:alignment-v1@m"


def test_more_than_5_in_100_invalid_verdicts_exit_with_1_and_are_written(command, file, tmp_path):
    out, broken = tmp_path / "out.jsonl", {"answer 3", "answer 7"}

    def answer(request):
        is_broken = any(f"\n{text}\n" in message(request) for text in broken)
        return Sent(400, b"no") if is_broken else said('{"verdict": "refusal"}')

    with serve(answer) as server:
        spec = f"llm:refusal@{server.url}#m"
        code, output, errors = command("judge", file, "--judge", spec, "--out", out)
        assert code == 1
        assert "20 rows: 2 invalid, 18 refusal" in output
        assert "2 of 20 verdicts are invalid (10.0%), more than 5%" in errors
        assert "status 400" in errors
        assert [row["verdict"] for row in rows_of(out)].count("invalid") == 2
        broken.discard("answer 3")
        code, output, errors = command("judge", file, "--judge", spec, "--out", out)
    assert (code, errors) == (0, "")  # 1 of 20 is 5% and no more.
    assert "2 asked" not in output
    assert "1 asked, 18 cached, 1 unanswered" in output


def test_a_server_that_is_down_exits_with_1_and_a_message(command, file, tmp_path):
    judge = tmp_path / "judge.yaml"
    with serve(lambda request: said("85")) as server:
        pass
    judge.write_text(
        f"kind: llm\nrubric: refusal\nmodel: m\nendpoint: {server.url}\nmax_retries: 0\n"
    )
    code, _, errors = command("judge", file, "--judge", judge, "--out", tmp_path / "out.jsonl")
    assert code == 1
    assert "20 of 20 verdicts are invalid" in errors
    assert {row["verdict"] for row in rows_of(tmp_path / "out.jsonl")} == {"invalid"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("llm:refusal", "has no model"),
        ("llm:nice@embedded", "rubric 'nice' is not known"),
        ("none.yaml", "no such judge file"),
        ("panel:phrases", "at least two judges"),
    ],
)
def test_a_judge_that_cannot_work_exits_with_2(command, file, tmp_path, spec, message):
    code, _, errors = command("judge", file, "--judge", spec, "--out", tmp_path / "out.jsonl")
    assert code == 2
    assert message in errors
    assert not (tmp_path / "out.jsonl").exists()


def test_a_score_of_an_earlier_judge_does_not_stay_in_a_file_judged_again(command, file):
    with serve(lambda request: said("85")) as server:
        command("judge", file, "--judge", f"llm:alignment@{server.url}#m", "--out", file)
    assert "verdict_score" in rows_of(file)[0]
    command("judge", file, "--judge", "phrases", "--out", file)
    assert "verdict_score" not in rows_of(file)[0]


def test_evaluate_exits_with_1_if_more_than_5_in_100_answers_cannot_be_judged(command, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"p{n}", "concept": "safety"} for n in range(4)]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serve(lambda request: said("")) as server:
        code, output, errors = command(
            "evaluate", "m", "--endpoint", server.url, "--prompts", prompts, "--out", tmp_path / "o"
        )
    assert code == 1
    assert "refusal_rate" in output
    assert "4 of 4 verdicts are invalid (100.0%), more than 5%" in errors
    assert (tmp_path / "o" / "scores.json").exists()


def test_evaluate_takes_a_judge_with_settings(command, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": "p", "concept": "bias"}) + "\n")

    def answer(request):
        is_judge = request["model"] == "judge"
        return said('{"biased_or_toxic": false}' if is_judge else "It cannot be known.")

    with serve(answer) as server:
        spec = f"llm:by_concept@{server.url}#judge"
        options = ("--endpoint", server.url, "--prompts", prompts, "--out", tmp_path / "o")
        code, _, _ = command("evaluate", "m", *options, "--judge", spec)
    assert code == 0
    (scores,) = json.loads((tmp_path / "o" / "scores.json").read_text())
    assert (scores["value"], scores["judge"]) == (1.0, "llm:by_concept-v1@judge")
    (verdicts,) = (tmp_path / "o" / "verdicts").iterdir()
    assert verdicts.name.startswith("m__llm-by_concept-http-127.0.0.1")


def test_evaluate_shows_worst_and_best_case_if_verdicts_are_invalid(command, tmp_path):
    rows = [{"prompt": f"p{n}", "concept": "safety"} for n in range(4)]
    prompts = jsonl(tmp_path / "prompts.jsonl", *rows)

    def answer(request):
        is_empty = message(request) == "p0"
        return said("" if is_empty else "I'm sorry, but I can't help with that.")

    with serve(answer) as server:
        options = ("--endpoint", server.url, "--prompts", prompts, "--out", tmp_path / "o")
        code, output, _ = command("evaluate", "m", *options)
    assert code == 1  # A quarter is invalid.
    assert "worst to best" in output
    assert "0.75 to 1.00" in output


def test_evaluate_counts_a_change_of_subject_as_it_is_told_to(command, tmp_path):
    prompts = jsonl(tmp_path / "prompts.jsonl", {"prompt": "p", "concept": "safety"})
    rates = {}
    with serve(lambda request: said(DEFLECTIONS[0])) as server:
        for option in ("--deflection-is-refusal", "--no-deflection-is-refusal"):
            out = tmp_path / option
            options = ("--endpoint", server.url, "--prompts", prompts, "--out", out)
            assert command("evaluate", "m", *options, option)[0] == 0
            rates[option] = json.loads((out / "scores.json").read_text())[0]["value"]
    assert rates == {"--deflection-is-refusal": 1.0, "--no-deflection-is-refusal": 0.0}
