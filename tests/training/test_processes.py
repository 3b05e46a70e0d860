"""Processes end with the one that waits for them, however that one ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from spillover.training import processes
from spillover.training.processes import WAITING, end_with_waiting, is_running, run_command

WATCHING = (  # By its path, as the room imports torch.
    f"import os, runpy, time; runpy.run_path({processes.__file__!r})['end_with_waiting'](); "
    "print(os.getpid(), flush=True); time.sleep(60)"
)


def ends(process_id, *, seconds=10.0):
    """Say whether a process that is nobody's child any more ends in time."""
    end = time.monotonic() + seconds
    while is_running(process_id) and time.monotonic() < end:
        time.sleep(0.05)
    return not is_running(process_id)


def test_a_command_s_words_and_code_come_back_and_it_is_waited_for():
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    looks = []
    ended = run_command([sys.executable, "-c", code], on_wait=lambda: looks.append(1))
    assert ended.code == 3
    assert sorted(ended.messages.split()) == ["err", "out"]
    assert looks


def test_an_interruption_ends_the_command_before_it_goes_on(tmp_path):
    def interrupt():
        if (tmp_path / "id").exists():
            raise KeyboardInterrupt

    code = (
        f"import os, time; open({str(tmp_path / 'new')!r}, 'w').write(str(os.getpid())); "
        f"os.rename({str(tmp_path / 'new')!r}, {str(tmp_path / 'id')!r}); time.sleep(60)"
    )
    with pytest.raises(KeyboardInterrupt):
        run_command([sys.executable, "-c", code], on_wait=interrupt)
    assert not is_running(int((tmp_path / "id").read_text()))


def test_a_process_whose_waiting_process_was_killed_ends_itself():
    # Between the two there is a launcher, which stays.
    launcher = (
        f"import os, subprocess, sys; os.environ[{WAITING!r}] = sys.argv[1]; "
        f"subprocess.run([sys.executable, '-c', {WATCHING!r}])"
    )
    waiting = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    command = [sys.executable, "-c", launcher, str(waiting.pid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launched:
        watching = int(launched.stdout.readline())
        assert is_running(watching)
        waiting.send_signal(signal.SIGKILL)
        waiting.wait()
        assert ends(watching)


def test_a_process_whose_launcher_was_killed_ends_itself():
    launcher = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WATCHING!r}])"
    launched = subprocess.Popen(
        [sys.executable, "-c", launcher],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, WAITING: str(os.getpid())},
    )
    watching = int(launched.stdout.readline())
    launched.kill()
    launched.wait()
    assert ends(watching)
    launched.stdout.close()


def test_where_no_process_waits_nothing_is_watched(monkeypatch):
    monkeypatch.delenv(WAITING, raising=False)
    monkeypatch.setattr("threading.Thread.start", lambda _self: pytest.fail("watches"))
    assert end_with_waiting() is None
