"""A tiny aligned model, a study of it that takes seconds, and one finished run of that study."""

import os
import shutil
import subprocess

import pytest
import yaml

from spillover.study.artifacts import RunFolder
from spillover.study.config import load_study
from spillover.study.progress import quiet_reporter
from spillover.study.runner import run_study
from tests.study import small
from tests.study.running import context_of


@pytest.fixture(scope="session")
def aligned_model(tmp_path_factory, one_thread):
    """Return the folder of a tiny model that refuses three concepts."""
    return small.write_aligned_model(tmp_path_factory.mktemp("aligned"))


@pytest.fixture(scope="session")
def study_files(tmp_path_factory, aligned_model):
    """Return a folder with prompt and question files, and `study.yaml` over them."""
    return small.write_study(tmp_path_factory.mktemp("study"), model=aligned_model)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, study_files):
    """Return the folder of a whole run; shared, so tests must leave it as it was."""
    out = tmp_path_factory.mktemp("runs") / "small"
    run_study(load_study(study_files / "study.yaml"), out, reporter=quiet_reporter())
    return RunFolder(out)


@pytest.fixture
def own_run(finished_run, tmp_path):
    """Return a copy of the whole run that a test may change."""
    shutil.copytree(finished_run.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


@pytest.fixture
def small_study(study_files):
    """Return a function that loads the small study with overrides."""

    def load(*overrides, **options):
        return load_study(study_files / "study.yaml", overrides=overrides, **options)

    return load


@pytest.fixture
def edited_study(study_files, tmp_path):
    """Return a function that writes the small study with other keys and returns the file."""

    def write(**changes):
        content = yaml.safe_load((study_files / "study.yaml").read_text(encoding="utf-8"))
        path = tmp_path / "edited.yaml"
        path.write_text(yaml.safe_dump({**content, **changes}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def collected(small_study, finished_run, tmp_path):
    """Return a function that makes a context whose forget and retain sets are there already."""

    def make(*overrides):
        folder = RunFolder(tmp_path / "run")
        for split in ("train", "test"):
            path = folder.prompts(split)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(finished_run.prompts(split).read_bytes())
        examples = finished_run.examples("collected").read_bytes()
        folder.examples("collected").write_bytes(examples)
        return context_of(small_study("unlearn.steps=2", "monitor=null", *overrides), folder)

    return make


@pytest.fixture
def small_disk(tmp_path):
    """Return a function that mounts a disk of some KiB, or changes it; skip where it may not."""
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(kib, *, again=False, mode="rw"):
        options = f"{'remount,' if again else ''}{mode},size={kib}k"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"mounting a small disk is not allowed here: {done.stderr.strip()}")
        return disk

    yield mount
    if os.path.ismount(disk):
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
