"""The public names: all there, all importable, and cheap until they are used."""

import subprocess
import sys
import time
from importlib import import_module

import pytest

import spillover


def test_every_public_name_can_be_imported_and_is_the_one_of_its_module():
    for name in spillover.__all__:
        assert getattr(spillover, name) is getattr(import_module(spillover._MODULES[name]), name)


def test_public_names_are_sorted_listed_once_and_all_have_a_module():
    assert spillover.__all__ == sorted(set(spillover.__all__))
    assert set(spillover.__all__) == set(spillover._MODULES)


def test_public_names_are_shown_before_they_are_used():
    assert set(spillover.__all__) <= set(dir(spillover))


def test_every_public_name_says_what_it_is():
    undocumented = [name for name in spillover.__all__ if not getattr(spillover, name).__doc__]
    assert undocumented == []


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'spillover' has no attribute 'load_modle'"):
        _ = spillover.load_modle


def loaded_by(statement):
    """Run a statement in a fresh interpreter; return which heavy packages it imported."""
    code = (
        f"import sys\ntry:\n    {statement}\nexcept SystemExit:\n    pass\n"
        "print('loaded', *sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.splitlines()[-1].split())
    return modules & {"torch", "transformers", "peft", "pandas", "scipy", "matplotlib"}


@pytest.mark.parametrize(
    "statement",
    [
        "import spillover",
        "sys.argv = ['spillover', '--help']; from spillover.cli import main; main()",
        "sys.argv = ['spillover', 'run', '--help']; from spillover.cli import main; main()",
    ],
)
def test_import_and_help_load_nothing_heavy(statement):
    assert loaded_by(statement) == set()


@pytest.mark.parametrize("arguments", [["-c", "import spillover"], ["-m", "spillover", "--help"]])
def test_import_and_help_answer_in_half_a_second(arguments):
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 0.5
