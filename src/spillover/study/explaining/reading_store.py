"""What was read off models, on disk: one safetensors file a reading and model.

A reading is there if its file carries the key that it would have now.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spillover.files import write_bytes

if TYPE_CHECKING:  # torch is imported by what needs it, not by `spillover --help`.
    from torch import Tensor


@dataclass(frozen=True)
class Taken:
    """What one reading took off one model."""

    tensors: "Mapping[str, Tensor]"
    notes: Mapping[str, Any] = field(default_factory=dict)
    "What is no tensor, such as layers and tokens as text; JSON."


@dataclass(frozen=True)
class ReadingStore:
    """A folder of readings."""

    folder: Path
    key: Callable[[str, str], str]
    "The key that a reading of a model would have now."

    def path(self, name: str, role: str) -> Path:
        """Where a reading is kept."""
        return self.folder / f"{name}-{role}.safetensors"

    def has(self, name: str, role: str) -> bool:
        """Whether the reading is there, as it would be made now."""
        path = self.path(name, role)
        return path.exists() and _metadata(path).get("key") == self.key(name, role)

    def save(self, name: str, role: str, taken: Taken) -> None:
        """Keep a reading."""
        from safetensors.torch import save

        tensors = {key: value.detach().cpu().contiguous() for key, value in taken.tensors.items()}
        metadata = {"key": self.key(name, role), "notes": json.dumps(dict(taken.notes))}
        write_bytes(self.path(name, role), save(tensors, metadata=metadata))

    def load(self, name: str, role: str) -> Taken:
        """Return a reading."""
        from safetensors.torch import load_file

        path = self.path(name, role)
        return Taken(load_file(path), json.loads(_metadata(path)["notes"]))


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as stream:
        return dict(stream.metadata() or {})
