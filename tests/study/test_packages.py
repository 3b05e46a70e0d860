"""What packages of the room offer by their own names."""

from importlib import import_module

import pytest


@pytest.mark.parametrize(
    "package", ["artifacts", "audit", "config", "explaining", "runner", "sweep"]
)
def test_every_name_that_a_package_offers_is_there(package):
    module = import_module(f"spillover.study.{package}")
    assert module.__all__
    assert all(getattr(module, name).__doc__ for name in module.__all__)


def test_a_name_that_an_audit_does_not_offer_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'run_audits'"):
        _ = import_module("spillover.study.audit").run_audits
