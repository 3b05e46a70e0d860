"""Directions to llama.cpp's control vectors and back.

A control vector is a GGUF file with one float32 tensor `direction.N` a layer. llama.cpp adds it,
times the user's scale, to the output of layer N counted from 0: the site `resid_post` of layer N.
It refuses N = 0, so what is added after the first layer cannot be written. A direction of the
site `resid_pre` is written as the layer before it: the same place. The format has room for no
provenance; keep the safetensors file beside it.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from spillover.errors import DataError
from spillover.files import write_bytes
from spillover.models.directions import Direction

ARCHITECTURE = "controlvector"
_PREFIX = "direction."


def export_control_vector(
    path: Path, directions: Sequence[Direction], *, model_hint: str, scale: float = 1.0
) -> None:
    """Write directions, at most one a layer, as a control vector.

    Args:
        path: The GGUF file.
        directions: Their vectors are written as they are, times `scale`.
        model_hint: The family of the model, such as `llama`; llama.cpp shows it only.
        scale: 1 makes llama.cpp's `--control-vector` add what `add_direction` adds at strength 1.

    Raises:
        ValueError: If there are none, two at one layer, or one that the format cannot hold.
        StorageError: If the file cannot be written.
    """
    vectors: dict[int, Float[np.ndarray, " d_model"]] = {}
    for direction in directions:
        layer = _layer_of(direction)
        if layer in vectors:
            raise ValueError(f"two directions after layer {layer}; a control vector holds one each")
        vectors[layer] = (scale * direction.vector).numpy()
    if not vectors:
        raise ValueError(f"{path}: no directions to export; give at least one")
    write_bytes(path, _gguf_bytes(vectors, model_hint))


def _layer_of(direction: Direction) -> int:
    """Return N of `direction.N`, after whose layer the vector is added."""
    after = {"resid_post": direction.layer, "resid_pre": direction.layer - 1}
    layer = after.get(direction.site)
    if layer is None or layer < 1:
        raise ValueError(
            f"direction {direction.name!r} is at {direction.site} of layer {direction.layer}; "
            "a control vector can only be added after layer 1 or a later one"
        )
    return layer


def _gguf_bytes(vectors: dict[int, Float[np.ndarray, " d_model"]], model_hint: str) -> bytes:
    from gguf import GGUFWriter

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vector.gguf"
        writer = GGUFWriter(file, ARCHITECTURE)
        writer.add_string(f"{ARCHITECTURE}.model_hint", model_hint)
        writer.add_int32(f"{ARCHITECTURE}.layer_count", len(vectors))
        for layer, vector in sorted(vectors.items()):
            writer.add_tensor(f"{_PREFIX}{layer}", np.ascontiguousarray(vector, dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return file.read_bytes()


def import_control_vector(path: Path, *, name: str | None = None) -> list[Direction]:
    """Read a control vector as directions at `resid_post`, layer by layer.

    Args:
        path: The GGUF file.
        name: What the directions are called; None for the file's name.

    Raises:
        DataError: If the file is missing or is no control vector.
    """
    from gguf import GGUFReader

    if not path.is_file():
        raise DataError(f"{path}: no such file; give a GGUF file with a control vector")
    try:
        reader = GGUFReader(path)
    except (ValueError, IndexError) as error:  # What gguf raises for other bytes.
        raise DataError(f"{path}: not a GGUF file ({error})") from error
    architecture = reader.get_field("general.architecture")
    if architecture is None or architecture.contents() != ARCHITECTURE:
        raise DataError(f"{path}: not a control vector; its architecture must be {ARCHITECTURE!r}")
    hint = reader.get_field(f"{ARCHITECTURE}.model_hint")
    origin = {"control_vector": path.name, "model_hint": hint.contents() if hint else None}
    found = [
        Direction(
            name=name or path.stem,
            layer=_layer_number(tensor.name, path=path),
            site="resid_post",
            vector=torch.from_numpy(np.array(tensor.data, dtype=np.float32).reshape(-1)),
            provenance=origin,
        )
        for tensor in reader.tensors
    ]
    return sorted(found, key=lambda direction: direction.layer)


def _layer_number(tensor: str, *, path: Path) -> int:
    number = tensor.removeprefix(_PREFIX)
    if not tensor.startswith(_PREFIX) or not number.isdecimal():
        raise DataError(f"{path}: tensor {tensor!r} is no direction; names are {_PREFIX}LAYER")
    return int(number)
