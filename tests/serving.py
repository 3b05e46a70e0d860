"""A real OpenAI-compatible server on this machine: `transformers serve` on the embedded model."""

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

SECONDS_TO_START = 240


@pytest.fixture(scope="module")
def model_folder():
    """Return the folder of the embedded model."""
    from spillover.models.embedded import embedded_folder

    return embedded_folder()


@pytest.fixture(scope="module")
def server(model_folder, tmp_path_factory):
    """Serve the embedded model on a free port of this machine; return the address."""
    pytest.importorskip(
        "fastapi", reason="fastapi is not installed; pip install 'spillover[serve]'"
    )
    port = free_port()
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model_folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    with log.open("w") as stream:
        process = subprocess.Popen(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_healthy(url, process, log):
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise AssertionError(f"not healthy after {SECONDS_TO_START} s: {log.read_text()}")
