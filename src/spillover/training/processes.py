"""A command in processes of its own, none of which outlives the one that waits for it.

Ctrl-C in a terminal goes to the waiting process alone, which ends the others and goes on with its
interruption. If it is killed, the others notice within a second, and end as if killed themselves.
Knows nothing of trainings.
"""

import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

WAITING = "SPILLOVER_WAITING_PROCESS"
"Environment variable with the id of the process that waits."

_EVERY = 0.5
"Seconds between two looks at a process."

_GRACE = 30.0
"Seconds that processes have to end by themselves."

_KEPT_LINES = 200
"Of what a command wrote."


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    messages: str
    "The last that it wrote, to standard output and error alike."


def run_command(command: Sequence[str], *, on_wait: Callable[[], None] = lambda: None) -> Ended:
    """Run a command to its end; whatever is raised meanwhile ends it first.

    Args:
        command: Program and arguments; its processes should call `end_with_waiting`.
        on_wait: Called twice a second while it runs, and once after.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, WAITING: str(os.getpid())},
        start_new_session=True,  # Ctrl-C is the waiting process's to handle.
    )
    lines: deque[bytes] = deque(maxlen=_KEPT_LINES)
    reader = threading.Thread(target=_read_to_end, args=(process.stdout, lines), daemon=True)
    reader.start()
    try:
        while not _has_ended(process):
            on_wait()
        on_wait()
    finally:
        _end(process)
        reader.join(timeout=_GRACE)  # The pipe ends with the last process that could write to it.
    messages = b"".join(lines.copy()).decode("utf-8", errors="replace")
    return Ended(process.returncode, messages)


def _read_to_end(pipe: IO[bytes], lines: deque[bytes]) -> None:
    with pipe:
        lines.extend(pipe)


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    try:
        process.wait(timeout=_EVERY)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_with_waiting() -> None:
    """End this process as soon as its parent, or the process that waits, is gone.

    Does nothing where no process waits.
    """
    if WAITING in os.environ:
        ids = int(os.environ[WAITING]), os.getppid()
        threading.Thread(target=_watch, args=ids, daemon=True).start()


def _watch(waiting: int, parent: int) -> None:
    while os.getppid() == parent and is_running(waiting):
        time.sleep(_EVERY)
    os._exit(1)  # At once, as a kill would: what is on disk is made for that.


def is_running(process_id: int) -> bool:
    """Return whether there is a process of this id."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
