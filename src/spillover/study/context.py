"""What every stage of a study gets: configuration, folder, reporter, and a way to its models."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from spillover.files import fingerprint
from spillover.study.artifacts import RunFolder
from spillover.study.config import StudyConfig
from spillover.study.progress import Reporter
from spillover.study.sections import ModelSection

if TYPE_CHECKING:  # torch is imported by the stages that need it, not by `spillover --help`.
    from spillover.models.loading import LoadedModel


@dataclass(frozen=True)
class Context:
    """What every stage gets."""

    config: StudyConfig
    folder: RunFolder
    reporter: Reporter

    def load(self, made: Path | None = None) -> "LoadedModel":
        """Load the study's model, or one that the study made of it.

        Args:
            made: A folder that a training stage made: a whole model, or an adapter. None loads
                the model that the study starts from.
        """
        from spillover.models.adapters import is_adapter_folder
        from spillover.models.loading import load_model

        if made is None:
            return load_section(self.config.model)
        options = self.config.model.model_dump(exclude={"source"})
        if is_adapter_folder(made):
            return _adapted(self.load(self.adapted_folder(made)), made)
        return load_model(made, **{**options, "adapter": None, "revision": None})

    def adapted_folder(self, made: Path) -> Path | None:
        """Return the whole model that an adapter of this study lies on; None for the study's own.

        Only safety training of all weights makes one; adapters after it are trained upon it.
        """
        from spillover.models.adapters import is_adapter_folder

        aligned = self.folder.model("aligned")
        if self.config.align is None or made == aligned or is_adapter_folder(aligned):
            return None
        return aligned


def load_section(section: ModelSection) -> "LoadedModel":
    """Load the model that a section of a study file names."""
    from spillover.models.loading import load_model

    options = section.model_dump()
    return load_model(options.pop("source"), **options)


def _adapted(loaded: "LoadedModel", adapter: Path) -> "LoadedModel":
    """Return `loaded` with an adapter merged into it; `loaded` itself is used up."""
    from spillover.models.adapters import apply_adapter
    from spillover.models.loading import adapter_fingerprint

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
