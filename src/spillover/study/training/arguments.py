"""A section of a study file to the training room's words: objective, settings, adapter, monitor.

Trains nothing; `train` and `launching` do.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spillover.errors import ConfigError
from spillover.records import Prompt
from spillover.study.artifacts import load_prompt_file
from spillover.study.config.adapter import AdapterSection
from spillover.study.config.model_runs import ModelRun
from spillover.study.config.sections import TrainingSection, UnlearnSection
from spillover.study.stages.context import Context

if TYPE_CHECKING:  # torch is imported by the stages that need it, not by `spillover --help`.
    from transformers import TrainerCallback

    from spillover.models.loading import LoadedModel
    from spillover.training.adapters import AdapterSettings
    from spillover.training.batching import TrainingUnit
    from spillover.training.train import MonitorSettings, TrainingSettings


Callbacks = Callable[["LoadedModel"], "list[TrainerCallback]"]


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One training run of a study, besides its data and its section of the study file."""

    name: str
    "The model's in the run folder."
    start: Path | None
    "Adapter to start from; None starts from the study's model."
    objective: str
    seed: int
    steps: int
    units_per_step: int
    forget_weight: float = 1.0
    retain_weight: float = 1.0
    run: ModelRun | None = None
    "The model, for the choice of a checkpoint; None keeps the last step."
    callbacks: Callbacks | None = None
    "Makes callbacks of the model before it is trained, such as those that contain."


def objective_arguments(
    section: TrainingSection,
    job: TrainingJob,
    loaded: "LoadedModel",
    units: "Sequence[TrainingUnit]",
) -> dict[str, Any]:
    """Return the arguments of `make_objective`."""
    weights = {
        "name": job.objective,
        "forget_weight": job.forget_weight,
        "retain_weight": job.retain_weight,
    }
    if not isinstance(section, UnlearnSection):
        return weights
    activations = {}
    if section.layer is not None:
        loaded.architecture.layer(loaded.model, section.layer)  # A clear error if it is not there.
        layer = section.layer % loaded.architecture.n_layers
        activations = {"layer": layer, "control_norm": _control_norm(section, loaded, units, layer)}
    return {
        **weights,
        "beta": section.beta,
        "gamma": section.gamma,
        "logprobs": section.logprobs,
        "seed": job.seed,
        **activations,
    }


def _control_norm(
    section: UnlearnSection, loaded: "LoadedModel", units: "Sequence[TrainingUnit]", layer: int
) -> float:
    """Return the length of RMU's vector: as given, or against the states where answers begin."""
    from spillover.analysis.states import collect_states, prompt_tokens

    if section.control_norm is not None:
        return section.control_norm
    assert section.control_scale is not None
    prompts = list(dict.fromkeys(e.prompt for unit in units for e in unit.forget))
    states = collect_states(
        loaded.model,
        loaded.architecture,
        prompt_tokens(loaded.chat, prompts),
        pad_id=loaded.pad_id,
        layers=[layer],
    )
    return section.control_scale * float(states.norm(dim=-1).mean())


def training_settings(section: TrainingSection, job: TrainingJob) -> "TrainingSettings":
    """Return how to optimise."""
    from spillover.training.train import TrainingSettings

    return TrainingSettings(
        steps=job.steps,
        units_per_step=job.units_per_step,
        learning_rate=section.learning_rate,
        scheduler=section.scheduler,
        warmup_steps=section.warmup_steps,
        weight_decay=section.weight_decay,
        max_grad_norm=section.max_grad_norm,
        accumulation=section.accumulation,
        checkpoint_every=section.checkpoint_every,
        checkpoint_activations=section.checkpoint_activations,
        seed=job.seed,
    )


def adapter_settings(
    section: AdapterSection | None, loaded: "LoadedModel"
) -> "AdapterSettings | None":
    """Return the adapter that a section describes, fitted to a model; None trains all weights.

    Raises:
        ConfigError: If a layer is asked for that the model does not have.
        ModelError: If an organism's adapter does not fit the model.
    """
    from spillover.training.adapters import LoraSettings, SteeringSettings
    from spillover.training.organisms import organism_adapter

    if section is None:
        return None
    if section.kind != "lora":
        organism = organism_adapter(section.kind, loaded)
        if not isinstance(organism, SteeringSettings):
            return organism
        layer = organism.layer if section.layers is None else section.layers[0]
        alpha = organism.alpha if section.alpha is None else float(section.alpha)
        return replace(organism, layer=layer, alpha=alpha)
    return LoraSettings(
        rank=section.rank,
        alpha=section.alpha,
        target_modules=section.target_modules,
        layers=_layers(section, loaded.architecture.n_layers),
        rank_stabilised=section.rank_stabilised,
        dropout=section.dropout,
    )


def _layers(section: AdapterSection, n_layers: int) -> tuple[int, ...] | None:
    if section.first_layer >= n_layers:
        raise ConfigError(
            f"adapter.first_layer is {section.first_layer}, but the model has {n_layers} layers, "
            "counted from 0; lower it"
        )
    return tuple(range(section.first_layer, n_layers)) if section.first_layer else section.layers


def monitor_settings(context: Context) -> "MonitorSettings | None":
    """Return what is watched along training: the first test prompts of each concept."""
    from spillover.training.train import MonitorSettings

    section = context.config.monitor
    if section is None:
        return None
    groups: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in load_prompt_file(context.folder.prompts("test")):
        groups[prompt.concept].append(prompt)
    watched = [p for found in groups.values() for p in found[: section.prompts_per_concept]]
    return MonitorSettings(prompts=tuple(watched), every=section.every)


def tracked_name(context: Context, job: TrainingJob) -> str:
    """Return the name by which a tracker knows a training."""
    return f"{context.config.name}/{job.name}"
