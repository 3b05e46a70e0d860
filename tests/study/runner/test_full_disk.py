"""A disk that becomes full, wherever it does, ends the run with a message; later it goes on."""

import shutil
import sys

import pytest

from spillover import cli
from spillover.cli import studies
from spillover.study.artifacts import RunFolder

RESULTS = ("scores.json", "comparisons.json", "recoveries.json")


@pytest.fixture
def run_command(monkeypatch, capsys, study_files):
    """Return a function that runs the small study into a folder; gives exit code and messages."""
    monkeypatch.setattr(studies, "quiet_libraries", lambda: None)

    def run(folder):
        study = str(study_files / "study.yaml")
        monkeypatch.setattr(sys, "argv", ["spillover", "run", study, "--out", str(folder)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code or 0, capsys.readouterr().err

    return run


SLOWER = [pytest.param(kib, marks=pytest.mark.slow) for kib in (24, 64, 200, 300, 350, 450, 500)]


@pytest.mark.parametrize("kib", [400, *SLOWER])
def test_a_full_disk_is_named_and_the_run_goes_on_once_there_is_room(
    small_disk, run_command, finished_run, kib
):
    folder = RunFolder(small_disk(kib) / "run")
    code, message = run_command(folder.path)
    assert code == 1
    assert "Traceback" not in message
    assert "free some space" in message
    small_disk(20_000, again=True)
    code, _ = run_command(folder.path)
    assert code == 0
    for name in RESULTS:
        assert (folder.path / name).read_bytes() == (finished_run.path / name).read_bytes()


def test_a_disk_that_is_read_only_is_named_and_nothing_is_touched(
    small_disk, run_command, finished_run
):
    path = small_disk(20_000) / "run"
    shutil.copytree(finished_run.path, path)
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    small_disk(20_000, again=True, mode="ro")
    code, message = run_command(path)
    assert code == 1
    assert "Read-only file system" in message
    assert "choose another --out" in message
    assert "Traceback" not in message
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
