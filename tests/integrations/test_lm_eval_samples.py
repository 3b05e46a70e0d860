"""Samples that lm-eval logged become answers, scores and rows; broken ones say where."""

import json

import pytest

from spillover.data.questions import bundled_questions
from spillover.errors import DataError
from spillover.integrations.lm_eval_samples import import_samples, read_samples, sample_files
from spillover.study.artifacts import load_scores
from tests.judges.label_files import write_rows

CHOICE = {"arguments": {"gen_args_0": {"arg_0": "Q", "arg_1": " A"}}, "resps": [], "filter": "none"}


def choice(place, logprobs, right):
    pairs = [[str(value), "False"] for value in logprobs]
    return {**CHOICE, "doc_id": place, "doc": {}, "filtered_resps": pairs, "acc": right}


def generated(place, *texts, kind="strict-match", **doc):
    return {
        "doc_id": place,
        "doc": doc,
        "arguments": {"gen_args_0": {"arg_0": f"prompt {place}", "arg_1": "{'until': []}"}},
        "resps": [list(texts)],
        "filtered_resps": ["cut"],
        "filter": kind,
        "exact_match": 0.0,
    }


@pytest.fixture
def logged(tmp_path):
    """The folder of one model with two tasks, and an older file of one of them."""
    folder = tmp_path / "results" / "org__model"
    folder.mkdir(parents=True)
    quiz = [choice(0, (-3.0, -1.5), 1.0), choice(1, (-1, -2, -4), 0.0), choice(2, (-9, -8), 1.0)]
    write_rows(folder / "samples_arc_easy_2026-02-01T10-00-00.000001.jsonl", quiz)
    write_rows(folder / "samples_arc_easy_2026-01-01T10-00-00.000001.jsonl", quiz[:1])
    text = [generated(0, "No.", topic="bias"), generated(0, "No.", kind="flexible", topic="bias")]
    text.append(generated(1, "First.", "Second.", topic="privacy"))
    write_rows(folder / "samples_asked_2026-02-01T10-00-00.000001.jsonl", text)
    return folder


def test_choices_are_counted_as_lm_eval_counted_them(logged, tmp_path):
    found = import_samples(logged.parent, tmp_path / "out")
    assert [(a.id, a.chosen, a.is_correct) for a in found.answers] == [
        ("arc_easy/0", 1, True),
        ("arc_easy/1", 0, False),
        ("arc_easy/2", 1, True),
    ]
    (task, whole) = load_scores(tmp_path / "out" / "scores.json")
    assert (task.concept, task.n, task.judge) == ("all/arc_easy", 3, "lm_eval")
    assert whole.value == pytest.approx(2 / 3)
    assert whole.ci_low < 2 / 3 < whole.ci_high
    assert (tmp_path / "out" / "answers" / "org__model.jsonl").exists()


def test_generated_text_becomes_rows_once_whatever_the_filters(logged, tmp_path):
    import_samples(logged, tmp_path / "out", model="mine", concept="topic")
    lines = (tmp_path / "out" / "rows.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["id"], row["response"], row["concept"]) for row in rows] == [
        ("asked/0", "No.", "bias"),
        ("asked/1#0", "First.", "privacy"),
        ("asked/1#1", "Second.", "privacy"),
    ]
    assert {row["model"] for row in rows} == {"mine"}
    assert rows[0]["prompt"] == "prompt 0"


def test_of_each_task_the_newest_file_is_read(logged):
    assert [file.name[:18] for file in sample_files(logged)] == [
        "samples_arc_easy_2",
        "samples_asked_2026",
    ]
    assert "2026-02" in sample_files(logged)[0].name


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"results": {}}, "has no field 'doc_id'"),
        ({"doc_id": 0}, "has no field 'resps'"),
        ({"doc_id": 0, "resps": [["x"]]}, "has no field 'arguments'"),
        ({"doc_id": 0, "resps": [["x"]], "arguments": {}}, "holds no prompt"),
        (choice(0, ("nothing",), 1.0), "'nothing' is no log-probability"),
        (choice(0, ("nan",), 1.0), "'nan' is no log-probability"),
    ],
)
def test_what_is_no_sample_is_refused_with_its_line(tmp_path, line, message):
    write_rows(tmp_path / "samples_x.jsonl", [line])
    with pytest.raises(DataError, match=f"samples_x.jsonl:1: .*{message}"):
        read_samples(tmp_path / "samples_x.jsonl")


def test_a_folder_of_none_or_of_several_models_is_refused(logged, tmp_path):
    with pytest.raises(DataError, match="--log_samples"):
        read_samples(tmp_path / "results" / "nothing")
    other = logged.parent / "other"
    other.mkdir()
    write_rows(other / "samples_more_2026-02-01T10-00-00.000001.jsonl", [generated(0, "x")])
    with pytest.raises(DataError, match="of 2 models; give the folder of one: org__model, other"):
        read_samples(logged.parent)


def test_the_command_prints_scores_and_what_to_do_next(command, logged, tmp_path, wide_console):
    code, output, _ = command("import-lm-eval", logged, "--out", tmp_path / "out")
    assert code == 0
    assert "arc_easy" in output
    assert "3 choices, 3 generated answers" in output
    code, output, _ = command(
        "judge", tmp_path / "out" / "rows.jsonl", "--out", tmp_path / "judged"
    )
    assert code == 0
    code, _, errors = command("import-lm-eval", tmp_path / "nothing", "--out", tmp_path / "out")
    assert code == 2
    assert "--log_samples" in errors


def test_what_lm_eval_itself_writes_is_read_with_its_own_accuracy(tmp_path):
    pytest.importorskip("lm_eval", reason="lm-eval is not installed (extra `lmeval`)")
    from lm_eval.evaluator import evaluate
    from lm_eval.loggers import EvaluationTracker

    from spillover.integrations.lm_eval import _task, _wrapped
    from spillover.testing import tiny_model

    questions = bundled_questions()[:8]
    lm = _wrapped(tiny_model(tmp_path / "model", seed=1), batch_size=4)
    found = evaluate(
        lm=lm,
        task_dict={"tasks": {"quiz": _task("quiz", questions, ())}, "groups": {}},
        bootstrap_iters=0,
        log_samples=True,
    )
    tracker = EvaluationTracker(output_path=str(tmp_path / "logged"))
    tracker.general_config_tracker.model_name_sanitized = "tiny"
    samples = found.pop("samples")
    tracker.save_results_aggregated(results={}, samples=samples)
    tracker.save_results_samples("quiz", samples["quiz"])
    read = read_samples(tmp_path / "logged")
    assert (read.model, len(read.answers)) == ("tiny", 8)
    right = sum(answer.is_correct for answer in read.answers)
    assert right / 8 == found["results"]["quiz"]["acc,none"]
