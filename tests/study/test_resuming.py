"""A run that is stopped anywhere, and goes on, ends with the bytes of one that was not."""

import os
import random
import subprocess
import sys
import time

import pytest

from spillover import files
from spillover.study.artifacts import RunFolder
from spillover.study.progress import quiet_reporter
from spillover.study.runner import run_study

RESULTS = ("scores.json", "comparisons.json", "recoveries.json")


def results(folder):
    return {name: (folder.path / name).read_bytes() for name in RESULTS}


@pytest.mark.parametrize("seed", range(3))
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
    """Start the study as a process of its own, and wait for the first line that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "spillover", "run", str(study), "--out", str(folder.path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    process.stdout.readline()
    return process


def end(process):
    """Let a process end; return its output."""
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    return output


@pytest.mark.slow
def test_a_run_killed_at_ten_random_moments_ends_with_the_same_bytes(study_files, tmp_path):
    study, rng = study_files / "study.yaml", random.Random(0)
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    process, begin = start(study, whole), time.monotonic()
    end(process)
    seconds = time.monotonic() - begin
    reached = []
    for _ in range(10):
        process = start(study, killed)
        time.sleep(rng.uniform(0.3, 0.9) * seconds)
        process.kill()
        process.communicate(timeout=60)
        reached.append(len(list((killed.path / "stages").glob("*.json"))))
    assert reached == sorted(reached)
    assert reached[0] < reached[-1]
    assert "report:" in end(start(study, killed))
    assert results(killed) == results(whole)
