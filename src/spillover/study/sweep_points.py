"""A study and a grid of settings to one resolved study for each point of the grid.

Nothing is run here; what is wrong with any point is found before the first one starts.
"""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spillover.errors import ConfigError
from spillover.files import fingerprint
from spillover.records import Record
from spillover.study.config import StudyConfig, load_study

_NOT_SWEPT = ("name", "seeds", "description")
_LONGEST = 80


@dataclass(frozen=True, kw_only=True)
class SweepPoint(Record):
    """One choice of values for the keys of a grid."""

    name: str
    "The same for the same values, whatever else the grid has."
    settings: dict[str, Any]
    "Key with dots -> value."


def parse_grid(grid: Sequence[str]) -> dict[str, list[Any]]:
    """Read `key=a,b,c` for each key; values are YAML, so lists and mappings keep their brackets.

    Raises:
        ConfigError: If one is not of that form, or names a key or a value twice.

    Example:
        >>> parse_grid(["unlearn.steps=10,20", "targets=[safety],[bias, safety]"])
        {'unlearn.steps': [10, 20], 'targets': [['safety'], ['bias', 'safety']]}
    """
    found: dict[str, list[Any]] = {}
    for spec in grid:
        key, equals, text = (part.strip() for part in spec.partition("="))
        if not key or not equals or not text:
            raise ConfigError(f"--grid {spec!r}: write key=a,b,c, such as unlearn.steps=10,20")
        if key in found or key in _NOT_SWEPT:
            why = "is given twice" if key in found else "cannot be swept; use --seeds for seeds"
            raise ConfigError(f"--grid {spec!r}: {key} {why}")
        found[key] = _values(spec, text)
    if not found:
        raise ConfigError("a sweep needs a grid; give --grid key=a,b,c at least once")
    return found


def _values(spec: str, text: str) -> list[Any]:
    try:
        values = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError as error:
        raise ConfigError(f"--grid {spec!r}: {text!r} are not YAML values") from error
    if len({fingerprint(value) for value in values}) != len(values):
        raise ConfigError(f"--grid {spec!r}: a value is given twice")
    return list(values)


def grid_points(grid: Mapping[str, Sequence[Any]]) -> list[SweepPoint]:
    """Return every combination of the values, the last key changing fastest."""
    return [
        SweepPoint(name=_name(settings), settings=settings)
        for values in itertools.product(*grid.values())
        for settings in [dict(zip(grid, values, strict=True))]
    ]


def _name(settings: Mapping[str, Any]) -> str:
    """Return a readable name for files; two keys may end alike, so part of a hash is in it."""
    parts = [f"{key.rpartition('.')[2]}={json.dumps(value)}" for key, value in settings.items()]
    readable = re.sub(r"[^A-Za-z0-9=._-]+", "", "_".join(parts))[:_LONGEST]
    return f"{readable}-{fingerprint(settings)[:6]}"


def point_study(
    study: str | Path,
    point: SweepPoint,
    *,
    overrides: Sequence[str] = (),
    n_seeds: int | None = None,
) -> StudyConfig:
    """Return the study with a point's settings.

    Args:
        study: A file or the name of a bundled study.
        point: Set after `overrides`.
        overrides: `key=value`, for all points.
        n_seeds: Seeds 0 to n - 1; None for the study's own.

    Raises:
        ConfigError: If the study does not take a setting; the message names the point.
    """
    settings = [f"{key}={json.dumps(value)}" for key, value in point.settings.items()]
    seeds = None if n_seeds is None else range(n_seeds)
    try:
        return load_study(study, overrides=[*overrides, *settings], seeds=seeds)
    except ConfigError as error:
        raise ConfigError(f"point {point.name}: {error}") from error
