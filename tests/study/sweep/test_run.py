"""Sweeps from end to end: failures alone, work shared, nothing done twice."""

import errno
import os
from dataclasses import replace

import pandas as pd
import pytest

from spillover.errors import ConfigError
from spillover.files import read_json
from spillover.study.artifacts import RunFolder
from spillover.study.progress import quiet_reporter
from spillover.study.runner import run_study, study_state
from spillover.study.sweep.run import plan_sweep, run_sweep
from spillover.study.sweep.stage_sharing import adopt_stages, shared_work
from tests.interrupting import interrupted

SHORT = ("contain=null", "monitor=null", "evaluate.capability=null")
GRID = ("collect.min_forget=1,2,999",)


@pytest.fixture(scope="module")
def swept(tmp_path_factory, study_files):
    """Return plan, results and outcomes of a sweep in which one of three points fails."""
    plan = plan_sweep(
        str(study_files / "study.yaml"),
        GRID,
        tmp_path_factory.mktemp("sweep") / "out",
        overrides=SHORT,
        n_seeds=2,
    )
    outcomes = []
    results = run_sweep(plan, n_jobs=2, report=outcomes.append)
    return plan, results, outcomes


def test_a_run_that_fails_is_named_with_its_error_and_the_others_go_on(swept):
    plan, results, outcomes = swept
    assert len(outcomes) == 3
    (failed,) = results.failures
    assert failed.name == plan.points[2].name
    assert "at least 999 are needed" in failed.error
    assert {row.point for row in results.rows} == {point.name for point in plan.points[:2]}


def test_the_table_has_a_row_a_seed_in_json_and_parquet(swept):
    plan, results, _ = swept
    rows = read_json(plan.folder / "results.json")
    assert [(row["settings"]["collect.min_forget"], row["seed"]) for row in rows] == [
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
    ]
    frame = pd.read_parquet(plan.folder / "results.parquet")
    assert list(frame["collect.min_forget"]) == [1, 1, 2, 2]
    assert list(frame["target_effect"]) == [row["target_effect"] for row in rows]
    assert len(read_json(plan.folder / "summary.json")) == len(results.summary) == 8


def test_points_that_change_nothing_that_is_trained_find_the_same(swept):
    _, results, _ = swept
    first, second = results.rows[:2], results.rows[2:]
    assert [replace(row, point="", settings={}) for row in first] == [
        replace(row, point="", settings={}) for row in second
    ]
    assert first[0].target_effect > 0


def test_the_page_shows_the_front_and_the_failure(swept):
    plan, results, _ = swept
    page = results.page.read_text(encoding="utf-8")
    assert page.count('class="front"') == 2  # Equal points share the front.
    assert "at least 999 are needed" in page
    assert (plan.folder / "figures" / "front-safety.svg").exists()


def test_the_same_sweep_again_runs_only_what_failed(swept, monkeypatch):
    plan, results, _ = swept
    again = []
    found = run_sweep(plan, n_jobs=2, report=again.append)
    assert [outcome.name for outcome in again] == [plan.points[2].name]
    assert found.rows == results.rows


def test_a_larger_grid_keeps_the_points_that_are_done(swept, study_files):
    plan, _, _ = swept
    study = str(study_files / "study.yaml")
    larger = plan_sweep(
        study, ["collect.min_forget=1,2,3"], plan.folder, overrides=SHORT, n_seeds=2
    )
    assert [larger.is_done(point) for point in larger.points] == [True, True, False]


def test_another_study_does_not_take_the_folder(swept, edited_study):
    plan, _, _ = swept
    with pytest.raises(ConfigError, match="holds a sweep of study 'small', not 'other'"):
        plan_sweep(str(edited_study(name="other")), GRID, plan.folder)


def test_a_folder_with_something_else_in_it_is_refused(tmp_path, study_files):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"is not empty and holds no sweep\.json"):
        plan_sweep(str(study_files / "study.yaml"), GRID, tmp_path)


def test_stages_that_are_the_same_are_taken_over_and_the_run_ends_the_same(
    small_study, finished_run, tmp_path
):
    config = small_study("contain=null", "unlearn.steps=5")
    folder = RunFolder(tmp_path / "run")
    adopted = adopt_stages(config, folder, donors=[finished_run])
    assert adopted == ["prompts", "collect", "answer-aligned", "judge-aligned", "quiz-aligned"]
    done = [state.name for state in study_state(config, folder.path) if state.is_done]
    assert done == adopted
    run_study(config, folder.path, reporter=quiet_reporter())
    run_study(config, tmp_path / "alone", reporter=quiet_reporter())
    alone = RunFolder(tmp_path / "alone")
    assert folder.comparisons.read_bytes() == alone.comparisons.read_bytes()


def test_a_run_that_has_begun_takes_nothing_over(small_study, finished_run, own_run):
    assert adopt_stages(small_study("unlearn.steps=5"), own_run, donors=[finished_run]) == []


def test_each_stage_is_taken_from_whichever_run_has_it(small_study, finished_run, tmp_path):
    other = RunFolder(tmp_path / "other")
    run_study(small_study("unlearn.steps=5"), other.path, reporter=quiet_reporter())
    config = small_study("unlearn.steps=5", "evaluate.ema_threshold=0.2")
    alone = adopt_stages(config, RunFolder(tmp_path / "a"), donors=[finished_run])
    assert ("unlearned-safety" in alone, "contained-safety" in alone) == (False, True)
    both = adopt_stages(config, RunFolder(tmp_path / "b"), donors=[finished_run, other])
    assert both == [s.name for s in study_state(config, tmp_path / "b") if s.name != "scores"]


def test_a_start_that_was_killed_while_it_took_over_begins_again(
    small_study, finished_run, tmp_path
):
    config, folder = small_study("unlearn.steps=5"), RunFolder(tmp_path / "run")
    half = tmp_path / ".run.gathered" / "data" / "train.jsonl"
    half.parent.mkdir(parents=True)
    half.write_text("cut sh")
    assert "contained-safety" in adopt_stages(config, folder, donors=[finished_run])
    assert folder.prompts("train").read_bytes() == finished_run.prompts("train").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_where_a_disk_has_no_hard_links_files_are_copied(
    small_study, finished_run, tmp_path, monkeypatch
):
    def refuse(*_files):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    config, folder = small_study("unlearn.steps=5"), RunFolder(tmp_path / "run")
    assert "contained-safety" in adopt_stages(config, folder, donors=[finished_run])
    weights = folder.model("contained-safety") / "adapter_model.safetensors"
    assert weights.stat().st_nlink == 1
    assert "contained-safety" in [s.name for s in study_state(config, folder.path) if s.is_done]


def test_only_studies_with_the_same_safety_training_share_it(small_study, tmp_path):
    align = "align={steps: 2, learning_rate: 0.001}"
    folder = RunFolder(tmp_path)
    one = shared_work(small_study(align), folder)
    assert one == shared_work(small_study(align, "unlearn.steps=5"), folder)
    assert one != shared_work(small_study(align, "align.steps=3"), folder)
    assert shared_work(small_study(), folder) is None


def test_ctrl_c_ends_the_jobs_too_and_says_how_to_go_on(study_files, tmp_path):
    runs, options = tmp_path / "sweep" / "runs", ["--grid", "unlearn.steps=4"]
    code, _, messages = interrupted(
        *("sweep", study_files / "study.yaml", *options, "--out", tmp_path / "sweep"),
        once=lambda: list(runs.glob("*/cache/*.jsonl")),
    )
    assert code == 130
    assert messages.splitlines()[-1] == "interrupted; the same command goes on where it was"
    (log,) = (tmp_path / "sweep" / "logs").glob("*.log")
    assert "interrupted" in log.read_text()
