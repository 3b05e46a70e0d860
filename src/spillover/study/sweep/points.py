"""A study and a grid of settings to one resolved study for each point of the grid.

Nothing is run here; what is wrong with any point is found before the first one starts.
"""

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spillover.errors import ConfigError, DataError
from spillover.files import fingerprint, parse_yaml
from spillover.records import Record
from spillover.study.config import StudyConfig, load_study

_NOT_SWEPT = ("name", "seeds", "description")
_LONGEST = 80

MOST_POINTS = 1000
"Points of a grid, beyond which it was hardly meant."


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
    return found


def sweep_grid(grid: Sequence[str], published: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return the values of each key to sweep: those given, else those of the study file.

    Args:
        grid: `key=a,b,c`, or a key alone for the study's own values; none takes the study's grid.
        published: The study's `grid`.

    Raises:
        ConfigError: If there is no grid, a key or value is not fit for one, or the grid has more
            than `MOST_POINTS` points.

    Example:
        >>> sweep_grid(["beta", "steps=1"], {"beta": (0.1, 0.5), "rank": (8,)})
        {'beta': [0.1, 0.5], 'steps': [1]}
    """
    named = [key for key in (grid or published) if key in published]
    found = _checked({key: published[key] for key in named})
    given = parse_grid([spec for spec in grid if spec not in published])
    for key in found.keys() & given.keys():
        raise ConfigError(f"--grid: {key} is given twice, alone and with values; leave one out")
    found |= given
    n_points = math.prod(len(values) for values in found.values())
    if not found:
        raise ConfigError(
            "a sweep needs a grid, and the study has none; give --grid key=a,b,c at least once"
        )
    if n_points > MOST_POINTS:
        sizes = ", ".join(f"{key} ({len(values)})" for key, values in found.items())
        raise ConfigError(
            f"the grid has {n_points} points, more than {MOST_POINTS}: {sizes}; name the keys that "
            "you want, such as --grid KEY for the study's values or --grid KEY=a,b for yours"
        )
    return found


def _checked(grid: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return the grid of a study file, if its keys and values are fit for a sweep."""
    for key, values in grid.items():
        if key in _NOT_SWEPT or not values:
            why = "it cannot be swept" if values else "it has no values"
            raise ConfigError(f"grid.{key}: {why}; take it out of the study's grid")
        if len({fingerprint(value) for value in values}) != len(values):
            raise ConfigError(f"grid.{key}: a value is given twice")
    return {key: list(values) for key, values in grid.items()}


def _values(spec: str, text: str) -> list[Any]:
    try:
        values = parse_yaml(f"[{text}]", where=spec)
    except DataError as error:
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
    scale: str | None = None,
) -> StudyConfig:
    """Return the study with a point's settings.

    Args:
        study: A file or the name of a bundled study.
        point: Set after `overrides`.
        overrides: `key=value`, for all points.
        n_seeds: Seeds 0 to n - 1; None for the study's own.
        scale: Another size of the study.

    Raises:
        ConfigError: If the study does not take a setting; the message names the point.
    """
    settings = [f"{key}={json.dumps(value)}" for key, value in point.settings.items()]
    seeds = None if n_seeds is None else range(n_seeds)
    try:
        return load_study(study, overrides=[*overrides, *settings], seeds=seeds, scale=scale)
    except ConfigError as error:
        raise ConfigError(f"point {point.name}: {error}") from error
