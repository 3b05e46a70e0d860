"""Where the jobs of a sweep run: here, on a Ray cluster, through submitit."""

import pytest

from spillover.errors import ConfigError
from spillover.study.artifacts import RunFolder
from spillover.study.progress import quiet_reporter
from spillover.study.runner import run_study
from spillover.study.sweep.jobs import SweepJob, failure
from spillover.study.sweep.launchers import (
    LAUNCHERS,
    LaunchSettings,
    environments,
    find_launcher,
    run_locally,
    run_on_slurm,
)
from spillover.study.sweep.run import plan_sweep, run_sweep


@pytest.fixture
def broken_job(tmp_path, edited_study):
    """Return a job that fails before anything heavy is imported."""
    study = edited_study(prompts={"concepts": ["safety"], "train": str(tmp_path / "nowhere")})
    return SweepJob(
        name="broken",
        study=study,
        out=tmp_path / "runs" / "broken",
        log=tmp_path / "broken.log",
        cwd=tmp_path,
    )


def settings(folder, **options):
    return LaunchSettings(n_jobs=2, options=options, folder=folder)


def test_a_job_that_fails_at_once_is_an_outcome(broken_job, tmp_path):
    (outcome,) = run_locally([broken_job], settings(tmp_path))
    assert "nowhere: no such file (exit 2; see " in outcome.error


def test_a_job_that_cannot_even_be_planned_fails_alone_where_others_are_done(broken_job, tmp_path):
    finished = broken_job.out.parent / "finished" / "manifest.json"
    finished.parent.mkdir(parents=True)
    finished.write_text("{}")
    (outcome,) = run_locally([broken_job], settings(tmp_path))
    assert "nowhere: no such file (exit 2; see " in outcome.error


def test_local_jobs_take_no_resources(broken_job, tmp_path):
    with pytest.raises(ConfigError, match="launcher local: takes no options, got num_gpus"):
        list(run_locally([broken_job], settings(tmp_path, num_gpus=1)))


def test_local_jobs_share_gpus_in_turn():
    found = [share["CUDA_VISIBLE_DEVICES"] for share in environments(3, gpus=["0", "5"])]
    assert found == ["0", "5", "0"]
    assert all("CUDA_VISIBLE_DEVICES" not in share for share in environments(2, gpus=[]))


@pytest.mark.slow
def test_a_ray_cluster_started_here_runs_jobs_and_survives_those_that_fail(
    study_files, tmp_path, monkeypatch
):
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'spillover[ray]'")
    study, grid = str(study_files / "study.yaml"), ("collect.min_forget=1,999",)
    plan = plan_sweep(study, grid, tmp_path / "sweep", overrides=("contain=null", "monitor=null"))
    # Without it, jobs yield to whatever else runs here.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    try:
        results = run_sweep(plan, launcher="ray", options={"num_cpus": 1})
    finally:
        ray.shutdown()
    good, broken = plan.points
    (failed,) = results.failures
    assert failed.name == broken.name
    assert "at least 999 are needed" in failed.error
    run_study(plan.configs[good.name], tmp_path / "alone", reporter=quiet_reporter())
    alone = RunFolder(tmp_path / "alone")
    assert plan.run_folder(good).comparisons.read_bytes() == alone.comparisons.read_bytes()


def test_submitit_runs_jobs_without_a_cluster(broken_job, tmp_path):
    pytest.importorskip(
        "submitit", reason="submitit is not installed: pip install 'spillover[slurm]'"
    )
    (outcome,) = run_on_slurm([broken_job], settings(tmp_path / "slurm", cluster="local"))
    assert outcome.name == "broken"
    assert "nowhere: no such file" in outcome.error


def test_launchers_are_a_table_and_an_unknown_one_lists_it(monkeypatch):
    assert list(LAUNCHERS) == ["local", "ray", "slurm"]
    with pytest.raises(ConfigError, match="launcher 'lsf' is not known; choose one of local, ray"):
        find_launcher("lsf")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"needs the package ray; pip install 'spillover\[ray\]'"):
        find_launcher("ray")


def test_why_a_run_failed_is_its_message_or_its_last_line(tmp_path):
    log = tmp_path / "log"
    log.write_text("1/9 prompts: done\nerror: no space\nlast line\n")
    assert failure(log, 1) == f"no space (exit 1; see {log})"
    log.write_text("Traceback\n  File\nValueError: odd\n\n")
    assert failure(log, 1) == f"ValueError: odd (exit 1; see {log})"
    log.write_text("")
    assert failure(log, -9) == f"exit -9; see {log}"
