"""Every family of decoders in turn."""

import pytest

from spillover.testing import TINY_FAMILIES, write_tiny_model


@pytest.fixture(params=sorted(TINY_FAMILIES))
def loaded(request, tiny_family):
    """Return the tiny model of every family in turn."""
    return tiny_family(request.param)


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a tiny model that the test may change."""
    return write_tiny_model(tmp_path / "model")
