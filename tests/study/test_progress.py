"""What long work shows: bars with the time left on a terminal, plain lines in a log file."""

from io import StringIO

from rich.console import Console

from spillover.study import progress
from spillover.study.progress import Reporter, quiet_reporter


def shown(**console):
    file = StringIO()
    reporter = Reporter(Console(file=file, width=100, **console))
    reporter.say("1/2 prompts: done in 0 s")
    with reporter.task("aligned: training", total=4) as advance:
        advance(3)
    return file.getvalue()


def test_a_terminal_shows_what_runs_how_far_it_is_and_the_time_left():
    text = shown(force_terminal=True, color_system=None)
    assert "aligned: training" in text
    assert "3/4" in text
    assert "left" in text


def test_generation_shows_its_speed_and_what_was_kept_on_disk_does_not_count(monkeypatch):
    now = iter([0.0, 0.5, 3.0])  # The start, kept answers, new ones two seconds after the first.
    monkeypatch.setattr(progress, "monotonic", lambda: next(now))
    file = StringIO()
    reporter = Reporter(Console(file=file, width=120, force_terminal=True, color_system=None))
    with reporter.task("aligned: answering", total=4) as advance:
        advance(2, tokens=1000)
        advance(2, tokens=84)
    assert "42 tokens/s" in file.getvalue()


def test_a_log_file_gets_whole_lines_and_no_bars():
    assert shown(force_terminal=False) == "1/2 prompts: done in 0 s\n"


def test_a_quiet_reporter_shows_nothing(capsys):
    reporter = quiet_reporter()
    reporter.say("something")
    with reporter.task("work", total=1) as advance:
        advance(1)
    assert capsys.readouterr() == ("", "")
