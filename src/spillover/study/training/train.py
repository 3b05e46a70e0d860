"""One training of a study: a schedule and a section to a model folder that stands by itself.

What is trained on is `stages`' and `tuning_stages`'; measuring along it, `selection`'s.
"""

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spillover.data.concepts import BENIGN_LOOKALIKE, BENIGN_PLAIN
from spillover.files import write_text
from spillover.records import Example
from spillover.study.config.sections import TrainingSection
from spillover.study.stages.context import Context
from spillover.study.training.arguments import Callbacks as Callbacks
from spillover.study.training.arguments import TrainingJob as TrainingJob
from spillover.study.training.arguments import adapter_settings as adapter_settings
from spillover.study.training.arguments import (
    monitor_settings,
    objective_arguments,
    tracked_name,
    training_settings,
)
from spillover.study.training.launching import launch_training
from spillover.study.training.publishing import FINISHED, is_published, publish

if TYPE_CHECKING:  # torch is imported by the stages that need it, not by `spillover --help`.
    from spillover.models.loading import LoadedModel
    from spillover.study.training.selection import Selection
    from spillover.training.batching import TrainingUnit
    from spillover.training.checkpoints import CheckpointMeasurer
    from spillover.training.objectives import Objective


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
            train_job(context, section, units, job, work=work)
            write_text(work / FINISHED, "")
        chosen = work / BEST
        result = chosen if chosen.is_dir() else work
        publish(context, work, folder, result=result, start=job.start, name=job.name)
    if work.exists():
        shutil.rmtree(work)


def train_job(
    context: Context,
    section: TrainingSection,
    units: "Sequence[TrainingUnit]",
    job: TrainingJob,
    *,
    work: Path,
) -> None:
    """Train in a work folder, going on where it was; what it leaves there is not yet published."""
    if section.launch is not None:
        with _steps_shown(context, job) as report:
            launch_training(context, section, units, job, work=work, report=report)
        return
    from spillover.study.training.selection import selection, write_choice
    from spillover.training.objectives import make_objective
    from spillover.training.train import train

    # In four bits, a model fits on devices that the whole of it may not fit on.
    loaded = context.load(job.start, device="cpu" if section.quantise else None)
    objective = make_objective(**objective_arguments(section, job, loaded, units))
    loaded = _in_four_bits(context, loaded) if section.quantise else loaded
    selected = None if job.run is None else selection(context, loaded, job.run)
    callbacks = [] if job.callbacks is None else job.callbacks(loaded)
    with _steps_shown(context, job) as report:
        train(
            loaded,
            units,
            objective=objective,
            folder=work,
            settings=training_settings(section, job),
            lora=adapter_settings(section.adapter, loaded),
            monitor=None if job.name == "aligned" else monitor_settings(context),
            callbacks=[
                *callbacks,
                *_measurers(selected, section, units, job, work=work),
            ],
            reference_model=_second_model(context, section, job, objective),
            report=report,
            report_to=section.report_to,
            run_name=tracked_name(context, job),
        )
    if selected is not None:
        write_choice(selected, work / "metrics.jsonl", name=job.name)


def _measurers(
    selected: "Selection | None",
    section: TrainingSection,
    units: "Sequence[TrainingUnit]",
    job: TrainingJob,
    *,
    work: Path,
) -> "list[CheckpointMeasurer]":
    """Return the callback that measures the training, where a checkpoint is to be chosen."""
    if selected is None:
        return []
    # A schedule goes through all forget examples before one comes again.
    n_forget = len({example.id for unit in units for example in unit.forget})
    epoch_steps = n_forget / job.units_per_step
    return [selected.measurer(work, section.adapter, epoch_steps=epoch_steps)]


@contextmanager
def _steps_shown(context: Context, job: TrainingJob) -> Iterator[Callable[[int], None]]:
    """Show a bar while inside, and yield what is told the steps done."""
    with context.reporter.task(f"{job.name}: training", total=job.steps) as advance:
        done = 0

        def report(step: int) -> None:
            nonlocal done
            advance(step - done)
            done = step

        yield report


def _in_four_bits(context: Context, loaded: "LoadedModel") -> "LoadedModel":
    from spillover.models.quantising import quantised
    from spillover.tensors import parse_device

    return quantised(loaded, device=parse_device(context.config.model.device))


def _second_model(
    context: Context, section: TrainingSection, job: TrainingJob, objective: "Objective"
) -> Any | None:
    """Load the start again where all weights are trained and the objective looks at it meanwhile.

    An adapter can be switched off instead.
    """
    needed = objective.looks_inside and section.adapter is None
    return context.load(job.start).model if needed else None
