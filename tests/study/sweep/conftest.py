"""What all tests of sweeps share."""

import os

import pytest


@pytest.fixture(scope="module", autouse=True)
def one_thread_each():
    """Give the processes of jobs one thread."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    os.environ.pop("OMP_NUM_THREADS")
    if before is not None:
        os.environ["OMP_NUM_THREADS"] = before
