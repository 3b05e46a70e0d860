"""What took long to measure, kept as JSON beside what it was about; and effects back from JSON."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spillover import __version__
from spillover.analysis.estimates import Estimate
from spillover.analysis.interventions import Effect
from spillover.files import fingerprint, read_json, write_json


def kept(path: Path, about: Sequence[Any], make: Callable[[], Any]) -> Any:
    """Return what `make` gives, or gave before where the file is about the same.

    Args:
        path: The file.
        about: Everything that the result depends on, JSON-like.
        make: Gives the result, JSON-like.
    """
    key = fingerprint([__version__, *about])
    if path.exists() and (found := read_json(path)).get("key") == key:
        return found["found"]
    write_json(path, {"key": key, "found": make()})
    return read_json(path)["found"]


def effect_from(row: Mapping[str, Any]) -> Effect:
    """Build an effect from what `to_dict` gave, through JSON."""
    estimates = {name: estimate_from(row[name]) for name in ("value", "change")}
    return Effect.from_dict({**row, **estimates})


def estimate_from(row: Mapping[str, Any] | None) -> Estimate | None:
    """Build an estimate from what `to_dict` gave, through JSON; None from None."""
    return None if row is None else Estimate.from_dict(row)
