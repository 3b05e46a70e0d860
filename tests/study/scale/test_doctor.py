"""What the doctor says of extras, without importing them."""

import subprocess
import sys

import pytest

from spillover.study.scale.doctor import inspect_finding


def test_an_absent_inspect_comes_with_the_command_that_installs_it():
    found = inspect_finding(None, [])
    assert found.value.startswith("not installed (our suites")
    assert found.remedy == "pip install 'spillover[inspect]'"


@pytest.mark.parametrize("version", ["0.3.284", "0.2.999"])
def test_an_old_inspect_is_said_to_be_too_old(version):
    assert inspect_finding(version, ["spillover"]).value == f"{version}, which is too old"


def test_an_inspect_that_does_not_find_our_entry_point_is_no_working_one():
    found = inspect_finding("0.3.285", ["other"])
    assert "does not know Spillover" in found.value
    assert "install Spillover again" in found.remedy


def test_a_new_inspect_with_our_entry_point_needs_no_remedy():
    assert inspect_finding("0.10.0", ["other", "spillover"]).remedy == ""


def test_neither_import_nor_command_line_nor_doctor_imports_inspect():
    code = (
        "import sys, spillover, spillover.cli, spillover.study.scale.doctor as d; d.diagnose(); "
        "print('inspect_ai' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
