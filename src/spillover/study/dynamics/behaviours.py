"""Behaviour along a training: read from a file, or measured on a model at several adapter scales.

A file is JSONL with `step`, `item` and `value`, and perhaps `name` and `scale`: answers by a judge
come from there. What is measured here is the caller's function.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from spillover.errors import DataError
from spillover.files import (
    append_jsonl,
    file_fingerprint,
    fingerprint,
    read_journal,
    read_jsonl,
    write_jsonl,
)
from spillover.models.live_adapters import replaced_weights, scaled_adapter
from spillover.models.loading import LoadedModel
from spillover.training.dense_checkpoints import read_checkpoint_tensors

Measure = Callable[[LoadedModel], Mapping[str, float]]
"Gives one number an item."


@dataclass(frozen=True)
class Behaviour:
    """One behaviour along a training at one scale of what was trained."""

    name: str
    scale: float
    steps: tuple[int, ...]
    values: Float[np.ndarray, "step item"] = field(repr=False)

    @property
    def label(self) -> str:
        """Name and scale, such as `aligned margin x5`."""
        return f"{self.name} x{self.scale:g}"


def load_behaviours(path: Path) -> list[Behaviour]:
    """Read behaviours from a file.

    Raises:
        DataError: If a row lacks a field, or items were not all measured at every step.
    """
    rows = []
    for number, row in read_jsonl(path):
        missing = [key for key in ("step", "item", "value") if key not in row]
        if missing or not isinstance(row["value"], int | float):
            raise DataError(
                f"{path}:{number}: fields {missing} are missing, or value is not a number; each "
                "line needs step, item and value"
            )
        rows.append(row)
    return behaviours_of(rows, where=str(path))


def behaviours_of(rows: Iterable[Mapping[str, Any]], *, where: str) -> list[Behaviour]:
    """Put rows together to one table for each name and scale."""
    tables: dict[tuple[str, float], dict[tuple[int, str], float]] = {}
    for row in rows:
        key = (str(row.get("name", "behaviour")), float(row.get("scale", 1.0)))
        tables.setdefault(key, {})[int(row["step"]), str(row["item"])] = float(row["value"])
    return [_table(name, scale, cells, where) for (name, scale), cells in tables.items()]


def _table(
    name: str, scale: float, cells: Mapping[tuple[int, str], float], where: str
) -> Behaviour:
    steps, items = sorted({s for s, _ in cells}), sorted({i for _, i in cells})
    if len(cells) != len(steps) * len(items):
        raise DataError(
            f"{where}: {name} x{scale:g} has {len(cells)} values for {len(steps)} steps and "
            f"{len(items)} items; measure every item at every step"
        )
    values = np.array([[cells[step, item] for item in items] for step in steps])
    return Behaviour(name, scale, tuple(steps), values)


def measure_behaviours(
    loaded: LoadedModel,
    files: Mapping[int, Path],
    measure: Measure,
    *,
    name: str,
    source: str,
    scales: Sequence[float],
    out: Path,
    every: int = 1,
    report: Callable[[str], None] = lambda _line: None,
) -> list[Behaviour]:
    """Put checkpoint after checkpoint into a model and measure it at each scale.

    An adapter is scaled as in 2506.11613, section 4.3; full-rank weights move on from the first
    checkpoint by that factor. A call that was stopped goes on from the journal beside `out`.

    Args:
        loaded: The model of the checkpoints; with a live adapter where these are of one. As it was
            afterwards.
        files: Step -> checkpoint, from `dense_files`.
        measure: One number an item, the same items every time.
        name: What is measured.
        source: Identity of the model and of what is measured; another one measures all anew.
        scales: 1, 5 and 10 in the paper.
        out: Gets a row for each value, as `load_behaviours` reads them.
        every: Measure every n-th checkpoint; first and last are always measured.
        report: Told what was done.
    """
    journal = out.with_suffix(".journal")
    places = list(files)
    known = {row["key"]: row["values"] for row in read_journal(journal)}
    start, first = read_checkpoint_tensors(files[places[0]]), file_fingerprint(files[places[0]])
    rows = []
    for step in dict.fromkeys([*places[::every], places[-1]]):
        measured = [source, first, file_fingerprint(files[step])]
        for scale in scales:
            key = fingerprint([*measured, scale])
            if key not in known:
                with _at(loaded, start, read_checkpoint_tensors(files[step]), scale=scale):
                    known[key] = dict(measure(loaded))
                append_jsonl(journal, [{"key": key, "values": known[key]}])
            rows += [
                {"name": name, "scale": scale, "step": step, "item": item, "value": value}
                for item, value in known[key].items()
            ]
        report(f"step {step}: measured")
    write_jsonl(out, rows)
    return behaviours_of(rows, where=str(out))


@contextmanager
def _at(
    loaded: LoadedModel,
    start: Mapping[str, torch.Tensor],
    now: Mapping[str, torch.Tensor],
    *,
    scale: float,
) -> Iterator[None]:
    """Put a checkpoint into the model, what was trained being scaled."""
    if any(".lora_" in name for name in now):
        with replaced_weights(loaded.model, now), scaled_adapter(loaded.model, scale):
            yield
        return
    moved = {name: start[name] + scale * (value - start[name]) for name, value in now.items()}
    with replaced_weights(loaded.model, moved):
        yield
