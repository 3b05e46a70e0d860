"""A model of a run to a folder that others can use: a plain adapter, or its weights merged."""

import shutil
from pathlib import Path

from spillover.errors import ConfigError, ModelError
from spillover.files import read_text, write_text

_CARD = """---
library_name: transformers
tags: [spillover, research-model-organism]
---

# {name}

Merged from `{source}` by Spillover. If that was trained by a study, this is a **research model
organism**: it exists to study how safety training erodes, in order to prevent it. Do not deploy it.
"""


def export_model(source: str, out: Path, *, merged: bool, dtype: str = "bfloat16") -> Path:
    """Write an adapter, or the whole model with its adapters merged, with its card.

    Args:
        source: An adapter folder; for `merged` also anything that `load_model` takes.
        out: A folder that does not exist yet, or is empty.
        merged: Write whole weights that need no PEFT.
        dtype: Of merged weights; merging rounds in it.

    Raises:
        ConfigError: If `out` is not empty.
        ModelError: If `source` cannot be loaded, or is no adapter and not to be merged.
    """
    from spillover.models.adapters import is_adapter_folder
    from spillover.models.loading import load_model

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: is not empty; choose another --out")
    folder = Path(source)
    if not merged:
        if not is_adapter_folder(folder):
            raise ModelError(f"{folder}: no adapter_config.json; give an adapter, or --merged")
        shutil.copytree(folder, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.jsonl"))
        return out
    loaded = load_model(source, dtype=dtype, device="cpu")
    loaded.model.save_pretrained(out)
    loaded.tokenizer.save_pretrained(out)
    write_text(out / "README.md", _merged_card(folder, source))
    return out


def _merged_card(folder: Path, source: str) -> str:
    """Return the card of the model that was merged, in so far as it still is true."""
    card = folder / "README.md"
    if not card.is_file():
        return _CARD.format(name=folder.name, source=source)
    return (
        read_text(card)
        .replace("library_name: peft", "library_name: transformers")
        .replace("- what is here: an adapter", "- what is here: a whole model, its adapter merged")
    )
