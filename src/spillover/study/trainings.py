"""One training of a study: a schedule and a section to a model folder that stands by itself.

What is trained on is `training_stages`' and `tuning_stages`'; measuring along it, `selecting`'s.
"""

import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spillover.data.concepts import BENIGN_LOOKALIKE, BENIGN_PLAIN
from spillover.errors import ConfigError
from spillover.files import write_text
from spillover.records import Example, Prompt
from spillover.study.artifacts import load_prompt_file
from spillover.study.context import Context
from spillover.study.model_runs import ModelRun
from spillover.study.publishing import FINISHED, is_published, publish
from spillover.study.sections import AdapterSection, TrainingSection, UnlearnSection

if TYPE_CHECKING:  # torch is imported by the stages that need it, not by `spillover --help`.
    from spillover.models.loading import LoadedModel
    from spillover.training.adapters import AdapterSettings
    from spillover.training.batching import TrainingUnit
    from spillover.training.objectives import Objective
    from spillover.training.train import MonitorSettings, TrainingSettings


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


def benign_weights(total: float, lookalike_share: float) -> dict[str, float]:
    """Return the two benign sets' shares of a total."""
    return {
        BENIGN_LOOKALIKE: total * lookalike_share,
        BENIGN_PLAIN: total * (1 - lookalike_share),
    }


def by_concept(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """Group examples by their concept, in order."""
    found: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        found[example.concept].append(example)
    return found


def train_stage(
    context: Context,
    section: TrainingSection,
    units: "Sequence[TrainingUnit]",
    job: TrainingJob,
) -> None:
    """Train and leave one plain adapter (or model) in the model's folder.

    Each step leaves a mark once it is whole, so that a kill costs no training twice.
    """
    from spillover.training.checkpoints import BEST

    folder = context.folder.model(job.name)
    work = folder / "training"
    if not is_published(folder):
        if not (work / FINISHED).exists():
            _train(context, section, units, job, work=work)
            write_text(work / FINISHED, "")
        chosen = work / BEST
        result = chosen if chosen.is_dir() else work
        publish(context, work, folder, result=result, start=job.start, name=job.name)
    if work.exists():
        shutil.rmtree(work)


def _train(
    context: Context,
    section: TrainingSection,
    units: "Sequence[TrainingUnit]",
    job: TrainingJob,
    *,
    work: Path,
) -> None:
    from spillover.study.selecting import selection, write_choice
    from spillover.training.train import train

    loaded = context.load(job.start)
    objective = _objective(section, job, loaded, units)
    selected = None if job.run is None else selection(context, loaded, job.run)
    with context.reporter.task(f"{job.name}: training", total=job.steps) as advance:
        done = 0

        def report(step: int) -> None:
            nonlocal done
            advance(step - done)
            done = step

        train(
            loaded,
            units,
            objective=objective,
            folder=work,
            settings=_settings(section, job),
            lora=adapter_settings(section.adapter, loaded),
            monitor=None if job.name == "aligned" else _monitor(context),
            callbacks=[] if selected is None else [selected.measurer(work, section.adapter)],
            reference_model=_second_model(context, section, job, objective),
            report=report,
        )
    if selected is not None:
        write_choice(selected, work / "metrics.jsonl", name=job.name)


def _objective(
    section: TrainingSection,
    job: TrainingJob,
    loaded: "LoadedModel",
    units: "Sequence[TrainingUnit]",
) -> "Objective":
    from spillover.training.objectives import make_objective

    weights: dict[str, Any] = {
        "forget_weight": job.forget_weight,
        "retain_weight": job.retain_weight,
    }
    if not isinstance(section, UnlearnSection):
        return make_objective(job.objective, **weights)
    activations: dict[str, Any] = {}
    if section.layer is not None:
        loaded.architecture.layer(loaded.model, section.layer)  # A clear error if it is not there.
        layer = section.layer % loaded.architecture.n_layers
        activations = {"layer": layer, "control_norm": _control_norm(section, loaded, units, layer)}
    return make_objective(
        job.objective,
        beta=section.beta,
        gamma=section.gamma,
        logprobs=section.logprobs,
        seed=job.seed,
        **weights,
        **activations,
    )


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


def _second_model(
    context: Context, section: TrainingSection, job: TrainingJob, objective: "Objective"
) -> Any | None:
    """Load the start again where all weights are trained and the objective looks at it meanwhile.

    An adapter can be switched off instead.
    """
    looks = objective.uses_divergence or objective.layer is not None
    return context.load(job.start).model if looks and section.adapter is None else None


def _settings(section: TrainingSection, job: TrainingJob) -> "TrainingSettings":
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


def _monitor(context: Context) -> "MonitorSettings | None":
    from spillover.training.train import MonitorSettings

    section = context.config.monitor
    if section is None:
        return None
    groups: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in load_prompt_file(context.folder.prompts("test")):
        groups[prompt.concept].append(prompt)
    watched = [p for found in groups.values() for p in found[: section.prompts_per_concept]]
    return MonitorSettings(prompts=tuple(watched), every=section.every)
