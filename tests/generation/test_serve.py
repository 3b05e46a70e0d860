"""The endpoint client against a real server: `transformers serve` on the embedded model."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from spillover.data import bundled_prompts
from spillover.generation import EndpointGenerator, GenerationSettings
from spillover.generation.hf import HFGenerator
from spillover.models import load_model
from spillover.models.embedded import embedded_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("fastapi") is None,
        reason="fastapi is not installed; pip install 'spillover[serve]'",
    ),
]

SETTINGS = GenerationSettings(max_new_tokens=16, batch_size=1)
SECONDS_TO_START = 240


@pytest.fixture(scope="module")
def model_folder():
    return embedded_folder()


@pytest.fixture(scope="module")
def server(model_folder, tmp_path_factory):
    """Serve the embedded model on a free port of this machine; return the address."""
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


def test_a_real_server_gives_the_same_greedy_text_as_generation_here(server, model_folder):
    prompts = bundled_prompts("benign_plain", split="test")[:4]
    served = EndpointGenerator(
        server, str(model_folder), name="served", max_concurrency=2, timeout=120
    ).generate(prompts, settings=SETTINGS)
    here = HFGenerator(load_model(model_folder, dtype="float32", device="cpu"), "here").generate(
        prompts, settings=SETTINGS
    )
    assert [completion.id for completion in served] == [prompt.id for prompt in prompts]
    assert all(completion.response for completion in served)
    assert [c.response.strip() for c in served] == [c.response for c in here]
    assert [c.finish_reason for c in served] == [c.finish_reason for c in here]
