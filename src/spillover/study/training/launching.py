"""One training of a study in several processes, which `accelerate launch` starts on this machine.

They leave in the work folder what a training in this process would. How the processes share a
training is `training.jobs`' and `training.train`'s.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spillover.errors import ConfigError
from spillover.memory import release_freed_memory
from spillover.study.config.sections import TrainingSection
from spillover.study.stages.context import Context
from spillover.study.training.arguments import (
    TrainingJob,
    adapter_settings,
    monitor_settings,
    objective_arguments,
    tracked_name,
    training_settings,
)

if TYPE_CHECKING:  # torch is imported by the stages that need it, not by `spillover --help`.
    from spillover.training.batching import TrainingUnit
    from spillover.training.jobs import SharedTraining


@dataclass(frozen=True, kw_only=True)
class LaunchPlan:
    """What a launch configuration says, as far as a study has to know it."""

    n_processes: int
    on_cpu: bool
    kind: str
    "accelerate's `distributed_type`."


def launch_plan(section: TrainingSection) -> LaunchPlan:
    """Read the configuration that a training is launched with.

    Raises:
        ConfigError: If there is none, it is no configuration, or it is for several machines.
    """
    from spillover.training.jobs import launch_config, launch_settings

    assert section.launch is not None
    path, found = launch_config(section.launch), launch_settings(section.launch)
    if found.get("num_machines", 1) != 1:
        raise ConfigError(
            f"{path}: num_machines is {found['num_machines']}, but a study starts processes on its "
            "own machine only; give 1, or launch on each machine yourself (docs/scale.md)"
        )
    return LaunchPlan(
        n_processes=section.processes or found["num_processes"],
        on_cpu=bool(found.get("use_cpu", False)),
        kind=str(found.get("distributed_type", "NO")),
    )


def launch_training(
    context: Context,
    section: TrainingSection,
    units: "Sequence[TrainingUnit]",
    job: TrainingJob,
    *,
    work: Path,
    report: Callable[[int], None],
) -> None:
    """Train in several processes, going on where they were.

    Raises:
        ConfigError: If the launch configuration cannot be used.
        SpilloverError: What made a process fail.
    """
    from spillover.training.jobs import launch_job, remove_job, write_job

    assert section.launch is not None
    assert job.callbacks is None, "what calls back is in this process"
    plan = launch_plan(section)
    shared = _shared_training(context, section, units, job, device="cpu" if plan.on_cpu else "auto")
    release_freed_memory(collect=True)  # The processes load the model themselves.
    write_job(work, shared, units)
    launch_job(work, launch=section.launch, n_processes=section.processes, report=report)
    remove_job(work)


def _shared_training(
    context: Context,
    section: TrainingSection,
    units: "Sequence[TrainingUnit]",
    job: TrainingJob,
    *,
    device: str,
) -> "SharedTraining":
    from spillover.training.jobs import SharedTraining, adapter_fields

    origin = context.origin(job.start)
    watched = None if job.name == "aligned" else monitor_settings(context)
    monitor: dict[str, Any] = {}
    if watched is not None:
        prompts = tuple(prompt.to_dict() for prompt in watched.prompts)
        monitor = {"monitor": prompts, "monitor_every": watched.every}
    # Adapter and objective may depend on the model; a GPU is left to the processes.
    loaded = context.load(job.start, device="cpu")
    return SharedTraining(
        model={**origin.arguments, "device": device},
        start=None if origin.adapter is None else str(origin.adapter),
        objective=objective_arguments(section, job, loaded, units),
        settings=training_settings(section, job).to_dict(),
        adapter=adapter_fields(adapter_settings(section.adapter, loaded)),
        report_to=section.report_to,
        run_name=tracked_name(context, job),
        quantise=section.quantise,
        **monitor,
    )
