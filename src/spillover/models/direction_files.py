"""Directions to safetensors and back: one tensor each, all else as JSON in the file's metadata.

The format of other programs, llama.cpp's, is in `control_vectors`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spillover.errors import DataError
from spillover.files import write_bytes
from spillover.models.directions import Direction

_KEY = "spillover_directions"
_PLAIN = ("name", "layer", "site", "activation_norm")


def save_directions(path: Path, directions: Sequence[Direction]) -> None:
    """Write directions to one safetensors file, whole or not at all.

    Args:
        path: The file; its folder is made if it is missing.
        directions: At least one; several are one a layer, or a basis of a subspace.

    Raises:
        ValueError: If there are no directions.
        StorageError: If the file cannot be written.
    """
    from safetensors.torch import save

    if not directions:
        raise ValueError(f"{path}: no directions to save; give at least one")
    rows = [_described(direction) for direction in directions]
    tensors = {f"direction.{i}": d.vector.contiguous() for i, d in enumerate(directions)}
    write_bytes(path, save(tensors, metadata={"format": "pt", _KEY: json.dumps(rows)}))


def _described(direction: Direction) -> dict[str, Any]:
    plain = {name: getattr(direction, name) for name in _PLAIN}
    return {**plain, "provenance": dict(direction.provenance)}


def load_directions(path: Path) -> list[Direction]:
    """Read the directions of a file, in the order in which they were saved.

    Raises:
        DataError: If the file is missing or is no file of directions.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DataError(f"{path}: no such file; make one with `spillover directions`")
    try:
        with safe_open(path, framework="pt") as file:
            described = (file.metadata() or {}).get(_KEY)
            if described is None:
                raise DataError(
                    f"{path}: holds tensors but no directions; give a file that `spillover "
                    "directions` wrote"
                )
            rows = json.loads(described)
            vectors = [file.get_tensor(f"direction.{i}") for i in range(len(rows))]
    except (SafetensorError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: not a file of directions ({error})") from error
    return [Direction(vector=v, **row) for row, v in zip(rows, vectors, strict=True)]


def load_direction(path: Path, *, layer: int | None = None) -> Direction:
    """Read one direction.

    Args:
        path: The file.
        layer: Which one, where the file has one a layer; None if it has a single one.

    Raises:
        DataError: If the file has not exactly one such direction.
    """
    found = load_directions(path)
    chosen = [d for d in found if layer is None or d.layer == layer]
    if len(chosen) != 1:
        layers = sorted({direction.layer for direction in found})
        raise DataError(
            f"{path}: {len(chosen)} directions"
            f"{'' if layer is None else f' at layer {layer}'}; name a layer out of {layers}"
        )
    return chosen[0]
