"""Nothing is reported unless asked for, and what is asked for must be there."""

import pytest

from spillover.errors import ConfigError
from spillover.training.trackers import TRACKERS, check_tracker


def test_none_needs_nothing_and_is_known():
    check_tracker("none")
    assert list(TRACKERS) == ["none", "trackio", "tensorboard", "wandb", "mlflow"]


def test_an_unknown_tracker_lists_the_known_ones():
    with pytest.raises(ConfigError, match="'neptune' is not known; choose one of none, trackio,"):
        check_tracker("neptune")


def test_a_tracker_that_is_not_installed_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="needs the package wandb; `pip install wandb`, or none"):
        check_tracker("wandb")


def test_every_tracker_is_one_that_transformers_knows():
    from transformers.integrations import INTEGRATION_TO_CALLBACK

    assert set(TRACKERS) - {"none"} <= set(INTEGRATION_TO_CALLBACK)
