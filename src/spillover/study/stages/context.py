"""What every stage of a study gets: configuration, folder, reporter, and a way to its models."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spillover.study.artifacts import RunFolder
from spillover.study.config import StudyConfig
from spillover.study.config.sections import ModelSection
from spillover.study.progress import Reporter

if TYPE_CHECKING:  # torch is imported by the stages that need it, not by `spillover --help`.
    from spillover.models.loading import LoadedModel


@dataclass(frozen=True)
class Context:
    """What every stage gets."""

    config: StudyConfig
    folder: RunFolder
    reporter: Reporter

    def load(self, made: Path | None = None, *, device: str | None = None) -> "LoadedModel":
        """Load the study's model, or one that the study made of it.

        Args:
            made: A folder that a training stage made: a whole model, or an adapter. None loads
                the model that the study starts from.
            device: In place of the study's.
        """
        from spillover.models.loading import load_model
        from spillover.models.merged import with_adapter

        origin = self.origin(made)
        there = {} if device is None else {"device": device}
        loaded = load_model(**{**origin.arguments, **there})
        return loaded if origin.adapter is None else with_adapter(loaded, origin.adapter)

    def origin(self, made: Path | None = None) -> "ModelOrigin":
        """Return how `load` loads a model, for a process that has no study."""
        from spillover.models.adapters import is_adapter_folder

        arguments = self.config.model.model_dump()
        if made is None:
            return ModelOrigin(arguments)
        if is_adapter_folder(made):
            return replace(self.origin(self.adapted_folder(made)), adapter=made)
        whole = {"source": str(made), "adapter": None, "revision": None}
        return ModelOrigin({**arguments, **whole})

    def adapted_folder(self, made: Path) -> Path | None:
        """Return the whole model that an adapter of this study lies on; None for the study's own.

        Only safety training of all weights makes one; adapters after it are trained upon it.
        """
        from spillover.models.adapters import is_adapter_folder

        aligned = self.folder.model("aligned")
        if self.config.align is None or made == aligned or is_adapter_folder(aligned):
            return None
        return aligned


@dataclass(frozen=True)
class ModelOrigin:
    """How a model is loaded."""

    arguments: dict[str, Any]
    "Of `load_model`, its `source` among them."
    adapter: Path | None = None
    "Merged into that model."


def load_section(section: ModelSection) -> "LoadedModel":
    """Load the model that a section of a study file names."""
    from spillover.models.loading import load_model

    return load_model(**section.model_dump())
