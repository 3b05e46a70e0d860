"""Fixtures of the training room: models that a test may train, on one thread."""

import pytest

from spillover.models.loading import load_model
from spillover.testing import write_tiny_model


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory):
    """Return the folder of a random two-layer Llama."""
    return write_tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture
def fresh(base_folder):
    """Return a function that loads the model anew, as training uses a model up."""

    def load(**options):
        return load_model(base_folder, **{"dtype": "float32", "device": "cpu", **options})

    return load
