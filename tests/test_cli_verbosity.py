"""How much a command says: quiet, verbose, and completion for shells."""

import pytest

from spillover.cli.app import is_verbose, quiet_libraries
from spillover.study.progress import Reporter, quietly


def test_quiet_reporters_show_nothing_and_only_while_asked_to(capsys):
    with quietly():
        reporter = Reporter()
        reporter.say("stage: done")
        with reporter.task("work", total=1) as advance:
            advance(1)
    assert capsys.readouterr().err == ""
    Reporter().say("stage: done")
    assert "stage: done" in capsys.readouterr().err


def test_quiet_keeps_results_and_errors(command, tmp_path):
    code, output, messages = command("--quiet", "run", "quickstart", "--dry-run", "--out", tmp_path)
    assert (code, messages) == (0, "")
    assert output.startswith("to do  prompts")
    code, _, messages = command("-q", "run", "nowhere.yaml")
    assert code == 2
    assert "no such study file" in messages


def test_verbose_shows_where_an_error_came_from(monkeypatch, capsys):
    import sys

    from spillover import cli

    monkeypatch.setattr(sys, "argv", ["spillover", "--verbose", "run", "nowhere.yaml"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    messages = capsys.readouterr().err
    assert ended.value.code == 2
    assert "Traceback" in messages
    assert "find_study" in messages
    assert messages.splitlines()[-1] == "error: nowhere.yaml: no such study file"


def test_verbose_leaves_the_libraries_their_say(monkeypatch):
    from transformers.utils import logging

    before = logging.get_verbosity()
    token = is_verbose.set(True)
    try:
        quiet_libraries()
        assert logging.get_verbosity() == before
    finally:
        is_verbose.reset(token)


def test_quiet_and_verbose_exclude_each_other(command):
    code, _, messages = command("--quiet", "--verbose", "list")
    assert code == 2
    assert "exclude each other" in messages


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there_for_every_shell(command, monkeypatch, shell):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    code, output, _ = command("--show-completion", shell)
    assert code == 0
    assert "spillover" in output
    assert "complete" in output
