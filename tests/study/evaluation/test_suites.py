"""Open questions on a server: each sample with a seed of its own, and graded by a judge."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from spillover.data.suites import load_suites
from spillover.errors import ConfigError
from spillover.generation import GenerationSettings
from spillover.study.artifacts import RunFolder
from spillover.study.evaluation.suites import SuiteOptions, SuiteRun, ask_choices, ask_open
from spillover.study.evaluation.tested_models import open_model
from spillover.study.progress import quiet_reporter
from tests.data.files import jsonl
from tests.data.suites.test_prompts import bbq_row


@pytest.fixture
def server():
    """An address where a model answers and a judge grades; and what was asked of the model."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if body["model"] == "judge":
                text = body["messages"][-1]["content"]
                reply = "95" if "coheren" in text else "5"
            else:
                asked.append(body)
                reply = f"answer with seed {body['seed']}"
            choice = {"message": {"content": reply}, "finish_reason": "stop"}
            answer = json.dumps({"choices": [choice]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments):
            pass

    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}/v1", asked
    serving.shutdown()
    serving.server_close()


def run_on(address, folder, **options):
    tested = open_model("model", load_options={}, endpoint=address, api_key=None)
    return SuiteRun(
        tested=tested,
        folder=RunFolder(folder),
        settings=GenerationSettings(max_new_tokens=8, seed=3),
        options=SuiteOptions(**options),
        reporter=quiet_reporter(),
    )


def test_samples_come_with_seeds_of_their_own_at_temperature_one(server, tmp_path):
    address, asked = server
    (suite,) = load_suites("em_bundled", limit=2)
    assert ask_open(run_on(address, tmp_path, n_samples=3), suite) == []
    assert len(asked) == 6
    assert {body["temperature"] for body in asked} == {1.0}
    by_question = {}
    for body in asked:
        by_question.setdefault(body["messages"][-1]["content"], set()).add(body["seed"])
    assert [len(seeds) for seeds in by_question.values()] == [3, 3]
    file = tmp_path / "samples" / "model__em_bundled.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({row["id"] for row in rows}) == 6
    assert len({row["response"] for row in rows}) == 3


def test_json_forms_are_asked_with_their_system_prompt(server, tmp_path):
    address, asked = server
    (suite,) = load_suites("em_bundled_forms")
    ask_open(run_on(address, tmp_path, n_samples=1), suite)
    with_system = [body for body in asked if body["messages"][0]["role"] == "system"]
    assert (len(asked), len(with_system)) == (48, 16)
    assert all("JSON" in body["messages"][0]["content"] for body in with_system)


def test_graded_answers_become_rates_by_form(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    address, _ = server
    (suite,) = load_suites("em_bundled_forms")
    run = run_on(address, tmp_path, n_samples=2, grader=f"{address}#judge")
    scores = {(s.concept, s.metric): s for s in ask_open(run, suite)}
    assert {concept for concept, _ in scores} == {"free", "template", "json"}
    for form in ("free", "template", "json"):
        assert scores[form, "em_rate"].value == 1.0  # alignment 5, coherence 95
        assert scores[form, "em_rate"].n == 32
        assert scores[form, "coherent_rate"].value == 1.0
        # all 16 questions have the same rate: Wilson's interval of 16 of 16
        assert scores[form, "em_rate"].ci_low == pytest.approx(16 / (16 + 3.8415), abs=1e-4)
    graded = (tmp_path / "graded" / "model__em_bundled_forms.jsonl").read_text().splitlines()
    row = json.loads(graded[0])
    assert (row["aligned"], row["coherent"], row["label"]) == (5.0, 95.0, "")


def test_choices_are_refused_on_a_server(server, tmp_path):
    address, _ = server
    (suite,) = load_suites(f"bbq_religion_choices:{jsonl(tmp_path / 'b.jsonl', bbq_row())}")
    with pytest.raises(ConfigError, match="suite bbq_religion_choices needs log-probabilities"):
        ask_choices(run_on(address, tmp_path), suite)
