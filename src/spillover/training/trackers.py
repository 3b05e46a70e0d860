"""Where a training may report to besides its own `metrics.jsonl`: nowhere, or one tracker.

The callbacks are transformers' own. Nothing is reported unless it is asked for by name.
"""

import importlib.util

from spillover.errors import ConfigError

TRACKERS = {
    "none": None,
    "trackio": "trackio",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
}
"Name -> the package that it needs."


def check_tracker(name: str) -> None:
    """Check that a tracker is known and installed, before any work is done.

    Raises:
        ConfigError: If it is not.
    """
    if name not in TRACKERS:
        raise ConfigError(f"report_to {name!r} is not known; choose one of {', '.join(TRACKERS)}")
    package = TRACKERS[name]
    if package is not None and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"report_to {name!r} needs the package {package}; `pip install {package}`, or none"
        )
