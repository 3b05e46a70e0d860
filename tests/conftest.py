"""Fixtures for every room: no network, a tiny model, and the folder of shared data."""

import os
import socket
import sys
from pathlib import Path

# Before transformers is imported, which reads them once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

import pytest
import torch
from hypothesis import settings

from spillover import cli
from spillover.cli.app import console
from spillover.testing import tiny_model

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

pytest_plugins = ["tests.serving"]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def pytest_configure(config):
    """Let PEFT ask transformers by a name that is going away."""
    config.addinivalue_line(
        "filterwarnings", "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
    )


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Use one thread: for models this small, sharing the work costs more than it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def quiet_transformers():
    """Keep progress bars out of the output."""
    from transformers.utils import logging

    logging.disable_progress_bar()


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch, request):
    """Refuse connections that would leave this machine, unless the test is marked `network`."""
    if request.node.get_closest_marker("network"):
        return
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family != socket.AF_UNIX and address[0] not in _LOOPBACK:
            raise OSError(f"tests may not connect to {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Return a random two-layer Llama in float32; shared, so tests must leave it as it was."""
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_family(tmp_path_factory):
    """Return a function from a family to its tiny model; shared, so leave it as it was."""
    made = {}

    def tiny_of(family):
        if family not in made:
            made[family] = tiny_model(tmp_path_factory.mktemp(family), family=family)
        return made[family]

    return tiny_of


@pytest.fixture(scope="session")
def shared_data():
    """Return the folder of data that comes beside the repository, or skip."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder}: not there; these checks need the shared data")
    return folder


@pytest.fixture
def wide_console(monkeypatch):
    """Fold no cell of a table, whatever the terminal."""
    monkeypatch.setattr(console, "_width", 200)


@pytest.fixture
def command(monkeypatch, capsys):
    """Return a function that gives a command; returns exit code, output and messages."""
    for name, module in list(sys.modules.items()):
        if name.startswith("spillover.cli.") and hasattr(module, "quiet_libraries"):
            monkeypatch.setattr(module, "quiet_libraries", lambda: None)  # Its settings would stay.

    def give(*arguments):
        monkeypatch.setattr(sys, "argv", ["spillover", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return ended.value.code or 0, captured.out, captured.err

    return give
