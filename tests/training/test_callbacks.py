"""Metrics files that are cut back, checkpoints that are whole or gone, steps that are reported."""

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from spillover.errors import TrainingError
from spillover.files import append_jsonl, read_journal
from spillover.training.callbacks import (
    WHOLE,
    CheckpointMarker,
    ExplodedLoss,
    MetricsCallback,
    MetricsFile,
    ProgressCallback,
    checkpoint_folder,
    kept_checkpoint,
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


def logged(folder, losses):
    """Return what a callback is told after a step with these losses so far."""
    arguments = TrainingArguments(output_dir=str(folder), report_to="none", use_cpu=True)
    history = [{"loss": loss, "step": n} for n, loss in enumerate(losses, start=1)]
    state = TrainerState(global_step=len(losses), log_history=history)
    return arguments, state, TrainerControl()


def test_three_steps_far_above_the_first_are_an_explosion_that_names_the_kept_checkpoint(tmp_path):
    kept, during = (checkpoint(tmp_path, step) for step in (2, 5))
    # The limit is 20 times 2 nats; the loss of step 4 was that of the weights after step 3.
    with pytest.raises(TrainingError, match=r"exploded: 2 at the first step, 60 at step 6; .*kept"):
        ExplodedLoss().on_log(*logged(tmp_path, [2.0, 2.0, 3.0, 41.0, 50.0, 60.0]))
    assert kept.exists()
    assert not during.exists()


@pytest.mark.parametrize(
    "losses",
    [
        [2.0, 2.0, 41.0, 39.0, 41.0, 41.0],  # Came back once.
        [13.9, 100.0, 270.0, 270.0, 270.0],  # Below 20 times the first.
        [0.01, 19.0, 19.0, 19.0],  # A first loss near 0 does not make a limit of 0.
        [5.0, -1e6, -1e7, -1e8],  # Gradient ascent falls without end, and is meant to.
        [50.0, 50.0, 50.0],
    ],
)
def test_losses_that_are_no_explosion_go_on(tmp_path, losses):
    ExplodedLoss().on_log(*logged(tmp_path, losses))
    assert kept_checkpoint(tmp_path).startswith("there was no checkpoint yet")


def test_a_marked_checkpoint_whose_file_was_cut_later_is_removed(tmp_path):
    first, cut = (checkpoint(tmp_path, step, whole=False) for step in (2, 4))
    for path in (first, cut):
        (path / "weights").write_bytes(b"0123456789")
        arguments, state, control = logged(tmp_path, [1.0] * int(path.name[-1]))
        CheckpointMarker().on_save(arguments, state, control)
    assert last_whole_checkpoint(tmp_path).step == 4
    (cut / "weights").write_bytes(b"01234")
    assert kept_checkpoint(tmp_path) == f"the last good checkpoint, {first}, is kept"
    assert last_whole_checkpoint(tmp_path).step == 2
    assert not cut.exists()


def test_only_one_of_several_processes_writes_metrics(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl", is_writer=False)
    metrics.append({"step": 1})
    metrics.cut_after(0)
    assert list(tmp_path.iterdir()) == []
