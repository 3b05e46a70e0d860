"""One tiny model of each family, made once."""

import pytest

from spillover.testing import TINY_FAMILIES, tiny_model


@pytest.fixture(scope="session")
def tiny_family(tmp_path_factory):
    """Return a function from a family to its tiny model; shared, so leave it as it was."""
    made = {}

    def tiny_of(family):
        if family not in made:
            made[family] = tiny_model(tmp_path_factory.mktemp(family), family=family)
        return made[family]

    return tiny_of


@pytest.fixture(params=sorted(TINY_FAMILIES))
def loaded(request, tiny_family):
    """Return the tiny model of every family in turn."""
    return tiny_family(request.param)
