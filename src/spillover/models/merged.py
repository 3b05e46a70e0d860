"""A loaded model and an adapter's folder to the model with that adapter merged into it."""

from dataclasses import replace
from pathlib import Path

from spillover.files import fingerprint
from spillover.models.adapters import apply_adapter
from spillover.models.loading import LoadedModel, adapter_fingerprint


def with_adapter(loaded: LoadedModel, adapter: Path) -> LoadedModel:
    """Return `loaded` with an adapter merged into it; `loaded` itself is used up.

    Raises:
        ModelError: If the folder holds no adapter, or one of another base.
    """
    base = loaded.weights_fingerprint
    model = apply_adapter(loaded.model, adapter, base_fingerprint=base).eval()
    model.requires_grad_(False)
    added = adapter_fingerprint(adapter)
    return replace(
        loaded,
        model=model,
        weights_fingerprint=fingerprint([base, added]),
        fingerprint=fingerprint([loaded.fingerprint, added]),
    )
