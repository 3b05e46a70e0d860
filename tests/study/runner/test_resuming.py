"""A run that is stopped anywhere, and goes on, ends with the bytes of one that was not."""

import os
import random
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from spillover import files
from spillover.study.artifacts import RunFolder
from spillover.study.progress import quiet_reporter
from spillover.study.runner import run_study

RESULTS = ("scores.json", "comparisons.json", "recoveries.json")
SLOWER = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5)]


def results(folder):
    return {name: (folder.path / name).read_bytes() for name in RESULTS}


@pytest.mark.parametrize("seed", [0, *SLOWER])
def test_a_run_stopped_in_the_middle_of_a_write_goes_on_and_ends_the_same(
    finished_run, small_study, tmp_path, monkeypatch, seed
):
    rng = random.Random(seed)
    folder = RunFolder(tmp_path / "run")
    for _ in range(4):
        stop_at_write(monkeypatch, rng.randrange(5, 60))
        with pytest.raises(KeyboardInterrupt):
            run_study(small_study(), folder.path, reporter=quiet_reporter())
        monkeypatch.undo()
    assert not folder.manifest.exists()
    run_study(small_study(), folder.path, reporter=quiet_reporter())
    assert results(folder) == results(finished_run)
    assert [path.name for path in folder.path.rglob(".*")] == [".lock"]


def stop_at_write(monkeypatch, number):
    """Interrupt the `number`-th file that is written, with its content on disk and no name yet."""
    left = number
    fsync = os.fsync

    def stopping(descriptor):
        nonlocal left
        left -= 1
        if left <= 0:
            raise KeyboardInterrupt
        fsync(descriptor)

    monkeypatch.setattr(files.os, "fsync", stopping)


def start(study, folder):
    """Start the study as a process of its own, and wait until it has written something."""
    before = modification_times(folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "spillover", "run", str(study), "--out", str(folder.path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while process.poll() is None and modification_times(folder) == before:
        time.sleep(0.01)
    return process


def modification_times(folder):
    """Return when each file of the stages' work was written."""
    found = {}
    for room in ("cache", "completions", "data", "models", "stages"):
        for parent, _, names in os.walk(folder.path / room):
            for name in names:
                with suppress(FileNotFoundError):
                    found[parent, name] = os.stat(os.path.join(parent, name)).st_mtime_ns
    return found


def end(process):
    """Let a process end; return its output."""
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    return output


@pytest.mark.slow
def test_a_run_killed_at_ten_random_moments_ends_with_the_same_bytes(study_files, tmp_path):
    study, rng = study_files / "study.yaml", random.Random(0)
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    end(start(study, whole))
    # Moments are counted in files, as how fast they come differs from one start to the next.
    n_files = len(modification_times(whole))
    n_kills, reached = 0, []
    for target in sorted(rng.sample(range(2, n_files * 5 // 6), 10)):
        process = start(study, killed)
        while process.poll() is None and len(modification_times(killed)) < target:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        n_kills += process.poll() is None
        process.kill()
        process.communicate(timeout=60)
        reached.append(len(modification_times(killed)))
    assert n_kills >= 8, f"{n_kills} of 10 processes were killed before they ended: {reached}"
    assert "report:" in end(start(study, killed))
    assert results(killed) == results(whole)
