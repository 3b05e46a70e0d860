"""Metrics files that are cut back, checkpoints that are whole or gone, steps that are reported."""

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from spillover.files import append_jsonl, read_journal
from spillover.training.callbacks import (
    WHOLE,
    MetricsCallback,
    MetricsFile,
    ProgressCallback,
    checkpoint_folder,
    last_whole_checkpoint,
)


def event(step):
    arguments = TrainingArguments(output_dir="unused", report_to="none", use_cpu=True)
    return arguments, TrainerState(global_step=step), TrainerControl()


def checkpoint(folder, step, *, whole=True):
    path = checkpoint_folder(folder, step)
    path.mkdir()
    if whole:
        (path / WHOLE).write_text("")
    return path


def test_a_logged_step_becomes_one_row():
    rows = []
    logs = {"loss": 2.0, "forget_loss": 1.5, "learning_rate": 0.1, "grad_norm": 3.0, "epoch": 0.5}
    MetricsCallback(rows.append).on_log(*event(4), logs=logs)
    assert rows == [
        {
            "kind": "train",
            "step": 4,
            "loss": 2.0,
            "forget_loss": 1.5,
            "learning_rate": 0.1,
            "grad_norm": 3.0,
        }
    ]


@pytest.mark.parametrize("overflow", [float("inf"), float("nan")])
def test_a_gradient_norm_that_overflowed_is_none_as_json_has_no_infinity(tmp_path, overflow):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    MetricsCallback(metrics.append).on_log(*event(1), logs={"loss": 2.0, "grad_norm": overflow})
    assert read_journal(tmp_path / "metrics.jsonl")[0]["grad_norm"] is None


@pytest.mark.parametrize("logs", [None, {"train_runtime": 3.0, "train_loss": 1.0}])
def test_logs_without_a_step_loss_are_left_out(logs):
    rows = []
    MetricsCallback(rows.append).on_log(*event(4), logs=logs)
    assert rows == []


@pytest.mark.parametrize(("step", "kept"), [(-1, []), (0, [0]), (2, [0, 1, 2]), (9, [0, 1, 2, 3])])
def test_metrics_are_cut_back_to_the_step_that_training_resumes_from(tmp_path, step, kept):
    path = tmp_path / "metrics.jsonl"
    append_jsonl(path, [{"step": n} for n in range(4)])
    MetricsFile(path).cut_after(step)
    assert [row["step"] for row in read_journal(path)] == kept


def test_cutting_a_file_that_is_not_there_makes_none(tmp_path):
    MetricsFile(tmp_path / "metrics.jsonl").cut_after(3)
    assert list(tmp_path.iterdir()) == []


def test_progress_is_the_number_of_steps_done():
    done = []
    ProgressCallback(done.append).on_step_end(*event(7))
    assert done == [7]


def test_the_latest_whole_checkpoint_is_found_by_number_not_by_name(tmp_path):
    checkpoint(tmp_path, 9)
    latest = checkpoint(tmp_path, 10)
    found = last_whole_checkpoint(tmp_path)
    assert (found.folder, found.step) == (latest, 10)


def test_a_checkpoint_that_was_cut_short_is_removed_and_not_used(tmp_path):
    whole = checkpoint(tmp_path, 9)
    cut = checkpoint(tmp_path, 10, whole=False)
    assert last_whole_checkpoint(tmp_path).folder == whole
    assert whole.exists()
    assert not cut.exists()


def test_a_folder_without_checkpoints_has_no_latest_one(tmp_path):
    assert last_whole_checkpoint(tmp_path) is None
