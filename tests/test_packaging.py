"""The wheel and the source archive: everything is in them, and they work outside the repository."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "spillover"
GENERATED = ("__pycache__", ".pyc")


def package_files():
    """Return the names of all files of the package, as they are in a wheel."""
    return {
        str(path.relative_to(PACKAGE.parent))
        for path in PACKAGE.rglob("*")
        if path.is_file() and not any(part in str(path) for part in GENERATED)
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a folder with a wheel and a source archive, built without a network."""
    pytest.importorskip("hatchling", reason="building needs hatchling: pip install hatchling")
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert package_files() <= names
    assert {"spillover/py.typed", "spillover/study/library/quickstart.yaml"} <= names
    assert {"spillover/report/rows.js", "spillover/report/style.css"} <= names
    assert not any(name.startswith(("tests/", "docs/", "examples/")) for name in names)


@pytest.mark.slow
def test_the_source_archive_holds_the_package_and_its_tests(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {f"src/{name}" for name in package_files()} <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "tests/conftest.py"} <= names


@pytest.mark.slow
def test_the_wheel_runs_in_a_folder_of_its_own_without_the_repository(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*install, "--target", str(site), str(wheel)], check=True)

    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    where = run("-c", "import spillover; print(spillover.__file__)").strip()
    assert where == str(site / "spillover" / "__init__.py")
    assert "Usage: " in run("-m", "spillover", "--help")
    assert "study      quickstart" in run("-m", "spillover", "list")
    plan = run("-m", "spillover", "run", "quickstart", "--out", "run", "--dry-run")
    assert "to do  contained-safety" in plan


def test_container_and_environment_name_files_that_exist():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if line.startswith("COPY "):
            for name in line.split()[1:-1]:
                assert (ROOT / name).exists()
                assert name in kept
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["dependencies"][0] == "python=3.11"
    assert (ROOT / "constraints.txt").exists()
