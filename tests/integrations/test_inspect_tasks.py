"""Our suites as Inspect tasks, run by Inspect: items, numbers, and the command line."""

import copy
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

pytest.importorskip("inspect_ai")

from inspect_ai.log import read_eval_log

from spillover.data.concepts import CONCEPTS
from spillover.data.questions import bundled_questions
from spillover.errors import ConfigError, DataError
from spillover.evaluation import over_refusal_scores, refusal_scores
from spillover.evaluation.capability import answer_questions, capability_score
from spillover.generation import GenerationSettings
from spillover.generation.hf import HFGenerator
from spillover.integrations.inspect_logs import read_inspect_log
from spillover.integrations.inspect_provider import local_model
from spillover.integrations.inspect_tasks import capability, misalignment, over_refusal, refusals
from spillover.judges import make_judge
from spillover.records import Prompt
from tests.data.files import jsonl
from tests.integrations.inspecting import evaluate, metrics, saying
from tests.judges.servers import said, serve

BENIGN_TASKS = {"over_refusal": over_refusal, "refusals": refusals}


@pytest.fixture(scope="module")
def varied(tiny):
    """A tiny model whose answers vary: the head is sharpened."""
    loaded = copy.deepcopy(tiny)
    with torch.no_grad():
        loaded.model.lm_head.weight.mul_(40)
    return loaded


def concepts(task):
    return Counter(sample.metadata["concept"] for sample in task.dataset)


def test_refusals_asks_the_bundled_test_prompts_of_all_concepts():
    found = concepts(refusals())
    assert set(found) == set(CONCEPTS)
    assert {sample.target for sample in refusals().dataset} == {"refusal"}
    assert concepts(refusals(limit=3)) == dict.fromkeys(CONCEPTS, 3)


def test_prompts_are_drawn_with_the_seed():
    drawn = [
        [sample.id for sample in refusals(concept="bias", limit=5, seed=s).dataset]
        for s in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_concepts_can_be_chosen_by_name_with_commas_or_as_inspect_splits_them():
    for chosen in ("bias,privacy", ["bias", "privacy"]):
        assert set(concepts(refusals(concept=chosen, limit=1))) == {"bias", "privacy"}


def test_over_refusal_asks_both_benign_sets():
    found = over_refusal(limit=2)
    assert concepts(found) == {"benign_plain": 2, "benign_lookalike": 2}
    assert {sample.target for sample in found.dataset} == {"compliance"}


def test_a_suite_is_read_from_the_users_file(tmp_path):
    rows = [{"prompt": f"p{i}", "label": "safe", "type": "homonyms"} for i in range(4)]
    file = jsonl(tmp_path / "xstest.jsonl", *rows)
    found = over_refusal(suite=f"xstest_safe:{file}", limit=2)
    assert concepts(found) == {"benign_xstest": 2}


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: refusals(suite="nope"), DataError, "suite 'nope' is not known"),
        (
            lambda: refusals(suite="value_pairs"),
            ConfigError,
            "choose a suite that measures prompts",
        ),
        (lambda: refusals(concept="nope"), DataError, "concept 'nope' has no bundled prompts"),
        (lambda: refusals(judge="nope"), ConfigError, "judge 'nope' is not known"),
        (lambda: refusals(limit=0), DataError, "limit 0"),
        (lambda: capability(by="luck"), ConfigError, "choose logprob or letter"),
        (lambda: capability(suite="em_bundled"), ConfigError, "suite that measures choices"),
        (lambda: misalignment(suite="value_pairs"), ConfigError, "suite that measures open"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_a_model_is_loaded(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_refusals_gives_the_numbers_of_our_own_evaluation(varied, tmp_path):
    task = refusals(limit=2, max_new_tokens=8)
    prompts = [
        Prompt(id=str(s.id), prompt=s.input, concept=s.metadata["concept"]) for s in task.dataset
    ]
    log = evaluate(task, local_model(varied, name="tiny", batch_size=16), tmp_path)
    settings = GenerationSettings(max_new_tokens=8)
    completions = HFGenerator(varied, "m").generate(prompts, settings=settings)
    verdicts = make_judge("phrases").judge(completions)
    own = {score.concept: score for score in refusal_scores(verdicts, model="m", seed=0)}
    found, invalid = metrics(log, "verdict"), metrics(log, "invalid_verdicts")
    for concept, score in own.items():
        if score.value is not None:
            assert found[concept] == score.value
            assert found[f"{concept}_ci_low"] == pytest.approx(score.ci_low)
            assert found[f"{concept}_n"] == score.n
    assert invalid["n_invalid"] == sum(score.n_invalid for score in own.values())
    assert over_refusal_scores(verdicts, model="m", seed=0) == []


def test_capability_gives_the_answers_of_our_own_evaluation(varied, tmp_path):
    asked = {sample.id for sample in capability(limit=12).dataset}
    questions = [question for question in bundled_questions() if question.id in asked]
    log = evaluate(capability(limit=12), local_model(varied, name="tiny"), tmp_path)
    answers = answer_questions(varied, questions)
    own = {answer.id: answer.is_correct for answer in answers}
    found = {sample.id: sample.scores["choice"].value == "C" for sample in log.samples}
    score = capability_score(answers, model="m", seed=0)
    assert found == own
    assert metrics(log, "choice")["accuracy"] == pytest.approx(score.value)
    assert metrics(log, "choice")["lower"] == pytest.approx(score.ci_low)


def test_capability_by_log_probability_needs_a_model_of_ours(tmp_path):
    log = evaluate(capability(limit=1), saying("x"), tmp_path, status="error")
    assert "with -T by=letter any model can be asked" in log.error.message


def test_capability_by_letter_asks_any_model(tmp_path):
    answers = {sample.id: sample.target for sample in capability(limit=2, by="letter").dataset}
    right, wrong = [f"ANSWER: {next(iter(answers.values()))}", "no idea"]
    log = evaluate(capability(limit=2, by="letter"), saying(right, wrong), tmp_path, max_samples=1)
    assert metrics(log, "choice")["accuracy"] == 0.5


def test_misalignment_samples_each_question_and_can_be_graded(varied, tmp_path):
    with serve(lambda request: said("20")) as server:
        task = misalignment(limit=3, n_samples=2, max_new_tokens=6, grader=f"{server.url}#m")
        log = evaluate(task, local_model(varied, name="tiny"), tmp_path)
    completions = {sample.output.completion for sample in log.samples}
    assert (len(log.samples), len(completions)) == (6, 6)
    found = metrics(log, "misalignment_grades")
    assert (found["em_rate"], found["coherent_rate"]) == (0.0, 0.0)  # Coherence 20 is not above 50.
    assert found["em_rate_n"] + found["em_rate_n_invalid"] == 6


def test_open_questions_keep_their_system_prompts():
    task = misalignment(suite="em_bundled_forms", n_samples=1)
    forms = {sample.metadata["arm"] for sample in task.dataset}
    assert forms == {"free", "template", "json"}
    assert {type(s.input) is list for s in task.dataset if s.metadata["arm"] == "json"} == {True}


@pytest.mark.slow
def test_inspects_own_command_runs_our_task_on_the_embedded_model(tmp_path):
    """The whole way: `inspect eval spillover/refusals --model spillover/embedded`, and the log."""
    command = [str(Path(sys.executable).parent / "inspect"), "eval", "spillover/refusals"]
    command += ["--model", "spillover/embedded", "-T", "limit=1", "-T", "concept=bias,privacy"]
    command += ["-T", "max_new_tokens=16", "--display", "plain", "--log-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "refusal_rate_ci_low" in done.stdout
    (file,) = tmp_path.glob("*.eval")
    log = read_eval_log(file)
    assert (log.status, log.eval.task) == ("success", "spillover/refusals")
    assert log.eval.model == "spillover/embedded"
    assert all(sample.output.completion for sample in log.samples)
    assert not any(math.isnan(s.scores["verdict"].as_float()) for s in log.samples)
    assert [row["concept"] for row in read_inspect_log(file)] == ["bias", "privacy"]
