"""One containment of a study in the making: its section, its data, and the models to start from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from spillover.analysis.states import chosen_layers, layer_at
from spillover.errors import ConfigError
from spillover.records import Example
from spillover.seeding import numpy_generator
from spillover.study.artifacts import load_example_file
from spillover.study.config.containment import ContainSection
from spillover.study.config.model_runs import ModelRun, unlearned_artifact
from spillover.study.stages.context import Context
from spillover.study.training.stages import RetainSet, retain_set, unlearning_units
from spillover.study.training.train import adapter_settings, by_concept
from spillover.training.adapters import LoraSettings

if TYPE_CHECKING:
    from spillover.models.loading import LoadedModel
    from spillover.training.batching import TrainingUnit


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the stage of a containment works with."""

    context: Context
    section: ContainSection
    run: ModelRun
    aligned: Path | None
    "The aligned model's folder; None where the study's own model is aligned."

    @property
    def unlearned(self) -> Path:
        """The folder of what was unlearned without containment, for the same target and seed."""
        return self.context.folder.model(unlearned_artifact(self.context.config, self.run))

    @cached_property
    def collected(self) -> dict[str, list[Example]]:
        """What the aligned model said itself: refusals by concept, answers by benign set."""
        return by_concept(load_example_file(self.context.folder.examples("collected")))

    @cached_property
    def retain(self) -> RetainSet:
        """What is to be kept, in equal shares of the concepts."""
        return retain_set(self.context, self.section, self.run)

    @property
    def uniform(self) -> float:
        """Part of the retain set that is shared equally whatever is predicted."""
        given = self.section.chosen.uniform
        return 0.25 if given is None else given

    def weight(self, *, default: float) -> float:
        """Return the weight of what contains."""
        given = self.section.chosen.weight
        return default if given is None else given

    def load(self, start: Path | None = None) -> "LoadedModel":
        """Load a model that the study made; by default the aligned one."""
        return self.context.load(self.aligned if start is None else start)

    def units(self, retain: RetainSet | None = None) -> "list[TrainingUnit]":
        """Return the schedule, with retain examples in each unit.

        Args:
            retain: In place of the retain set in equal shares; forget examples and their order
                stay.
        """
        from spillover.training.batching import forget_retain_schedule

        units = unlearning_units(self.context, self.section, run=self.run, retain=self.retain)
        if retain is None:
            return units
        others = forget_retain_schedule(
            [],
            retain.groups,
            n_units=len(units),
            retain_per_forget=self.section.retain_per_forget,
            group_weights=retain.weights,
            rng=numpy_generator(self.run.seed, self.run.draws, "retain"),
        )
        return [replace(u, retain=o.retain) for u, o in zip(units, others, strict=True)]

    def shared_out(self, shares: Mapping[str, float]) -> RetainSet:
        """Return the retain set with other shares of the concepts; benign ones keep theirs."""
        total = 1 - self.section.benign_share
        weights = {
            name: total * shares[name] if name in shares else weight
            for name, weight in self.retain.weights.items()
        }
        weights = {name: weight for name, weight in weights.items() if weight > 0}
        groups = {name: self.retain.groups[name] for name in weights}
        return RetainSet(groups=groups, weights=weights)

    def adapted_layers(self, loaded: "LoadedModel") -> tuple[int, ...]:
        """Return the layers that are trained, from 0."""
        settings = adapter_settings(self.section.adapter, loaded)
        layers = settings.layers if isinstance(settings, LoraSettings) else None
        return chosen_layers(loaded.architecture, layers)

    def layers(self, loaded: "LoadedModel") -> tuple[int, ...]:
        """Return the layers at which the method works."""
        given = self.section.chosen.layers
        return self.adapted_layers(loaded) if given is None else _existing(loaded, given)

    def middle_layer(self, loaded: "LoadedModel") -> int:
        """Return the one layer at which the method reads or writes states."""
        given = self.section.chosen.layer
        if given is not None:
            return _existing(loaded, (given,))[0]
        adapted = self.adapted_layers(loaded)
        return adapted[len(adapted) // 2]

    def adapting(self, layers: tuple[int, ...]) -> ContainSection:
        """Return the section with the adapter on some layers only."""
        assert self.section.adapter is not None
        place = {"layers": layers, "first_layer": 0}
        adapter = self.section.adapter.model_copy(update=place)
        return self.section.model_copy(update={"adapter": adapter})


def _existing(loaded: "LoadedModel", layers: tuple[int, ...]) -> tuple[int, ...]:
    n_layers = loaded.architecture.n_layers
    try:
        return tuple(sorted({layer_at(layer, n_layers=n_layers) for layer in layers}))
    except ValueError as error:
        raise ConfigError(f"contain.options: {error}") from error
