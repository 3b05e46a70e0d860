"""A command of ours in a process of its own that gets Ctrl-C in the middle of its work."""

import os
import signal
import subprocess
import sys
import time


def interrupted(*arguments, once):
    """Run `spillover` until `once()` is true, then interrupt it; return code, output, messages."""
    process = subprocess.Popen(
        [sys.executable, "-m", "spillover", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A job in the background of a shell ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while process.poll() is None and not once():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, messages = process.communicate(timeout=120)
    return process.returncode, output, messages
