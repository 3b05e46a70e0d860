"""The tree of errors and the exit codes that the command line gives them."""

import pytest

from spillover import errors
from spillover.errors import InputError, SpilloverError

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type)]


@pytest.mark.parametrize("name", ["DataError", "ConfigError", "ModelError", "TemplateError"])
def test_what_the_user_can_mend_exits_with_2(name):
    kind = getattr(errors, name)
    assert issubclass(kind, InputError)
    assert kind.exit_code == 2


@pytest.mark.parametrize("name", ["EndpointError", "TrainingError", "StorageError"])
def test_what_the_user_did_not_do_exits_with_1(name):
    kind = getattr(errors, name)
    assert not issubclass(kind, InputError)
    assert kind.exit_code == 1


def test_one_base_catches_them_all_and_only_a_gate_that_failed_exits_with_3():
    assert all(issubclass(kind, SpilloverError) for kind in ALL)
    assert {kind.exit_code for kind in ALL} == {1, 2, 3}
    assert [kind.__name__ for kind in ALL if kind.exit_code == 3] == ["GateError"]
