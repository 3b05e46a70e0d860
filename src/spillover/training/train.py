"""One training run: a loaded model and a schedule in, an adapter or model folder out.

Resumes by itself from the last whole checkpoint in its folder and then ends with the same weights
as a run that was never stopped. Called in each of several processes that a launcher started, it
shares the steps out among them; `jobs` starts them.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object
from peft.helpers import disable_input_dtype_casting
from transformers import PrinterCallback, TrainerCallback

from spillover.errors import ConfigError
from spillover.models.attention import use_plain_attention
from spillover.models.loading import LoadedModel
from spillover.models.logprobs import dataset_logprobs
from spillover.models.lora_biases import quiet_about_biases
from spillover.models.prefix import is_sharded
from spillover.records import Example, Prompt
from spillover.training.adapters import AdapterSettings, trainable
from spillover.training.adapters import LoraSettings as LoraSettings
from spillover.training.batching import TrainingUnit, chosen_id
from spillover.training.callbacks import (
    Checkpoint,
    CheckpointMarker,
    ExplodedLoss,
    FiniteWeights,
    MetricsCallback,
    MetricsFile,
    ProgressCallback,
    last_whole_checkpoint,
)
from spillover.training.monitor import FirstTokenMonitor
from spillover.training.objectives import Objective
from spillover.training.references import (
    FrozenModel,
    Reference,
    adapter_off_model,
    precomputed_reference,
    second_model,
)
from spillover.training.schedule_checks import check_units, shared_out
from spillover.training.settings import TrainingSettings as TrainingSettings
from spillover.training.settings import trainer_arguments
from spillover.training.trackers import check_tracker
from spillover.training.trainer import SpilloverTrainer


@dataclass(frozen=True, kw_only=True)
class MonitorSettings:
    """What to watch along training."""

    prompts: tuple[Prompt, ...]
    every: int = 10


def train(
    loaded: LoadedModel,
    units: Sequence[TrainingUnit],
    *,
    objective: Objective,
    folder: Path,
    settings: TrainingSettings,
    lora: AdapterSettings | None,
    monitor: MonitorSettings | None = None,
    reference_model: Any | None = None,
    report: Callable[[int], None] = lambda _step: None,
    callbacks: Sequence[TrainerCallback] = (),
    report_to: str = "none",
    run_name: str | None = None,
) -> Path:
    """Train `loaded` on a schedule and save the result in `folder`.

    With an adapter, `folder` gets that, trained on top of `loaded`'s weights; without, a whole
    model. `metrics.jsonl` beside it holds the curves. The model object is used up.

    Args:
        loaded: The model to start from, which is also the frozen reference.
        units: `settings.steps * settings.units_per_step` units in training order.
        objective: From `make_objective`.
        folder: For checkpoints, metrics and the result.
        settings: Optimisation.
        lora: The adapter, a LoRA or a steering vector; None trains all weights, in float32.
        monitor: Prompts to watch; None watches nothing.
        reference_model: A second, untouched model, for objectives that look into the frozen model
            (KL, RMU) in full-rank training; an adapter is switched off instead.
        report: Told the optimizer steps done.
        callbacks: More Trainer callbacks.
        report_to: A tracker of the Trainer's; none by default.
        run_name: By which the tracker knows this training; None leaves it to the tracker.

    Returns:
        The folder of the result, `folder`.

    Raises:
        TrainingError: If the loss explodes or stops being finite.
        ConfigError: If the tracker or the way the weights are sharded does not fit.
        DataError: If some concept has too few retain examples for its share.
        ModelError: If there is no frozen model to look into and the objective needs one.
        ValueError: If the number of units does not fit the settings, or their examples do not fit
            the objective.
    """
    check_tracker(report_to)
    processes = PartialState(cpu=loaded.device.type == "cpu")
    units, settings = shared_out(units, settings, objective, n_processes=processes.num_processes)
    check_units(units, objective, settings, n_processes=processes.num_processes)
    metrics = MetricsFile(folder / "metrics.jsonl", is_writer=processes.is_main_process)
    checkpoint = _prepare_folder(folder, metrics, processes)
    use_plain_attention(loaded.model)
    # Reference and monitor ask the model before an adapter is put into it.
    reference = _reference(loaded, units, processes) if objective.uses_reference else None
    watched = [] if monitor is None else [_monitor(loaded, monitor, metrics)]
    arguments = trainer_arguments(
        folder, settings, loaded, n_processes=processes.num_processes, report_to=report_to
    )
    arguments.run_name = run_name
    # A loss on a layer's activations gives those above it no gradient to wait for.
    arguments.ddp_find_unused_parameters = objective.layer is not None
    policy = trainable(loaded, lora, seed=settings.seed)
    trainer = SpilloverTrainer(
        objective=objective,
        reference=reference,
        units=units,
        chat=loaded.chat,
        pad_id=loaded.pad_id,
        frozen=_frozen(policy, objective, reference_model),
        architecture=loaded.architecture,
        model=policy,
        args=arguments,
        callbacks=[
            FiniteWeights(),
            *watched,
            *_bookkeeping(metrics, report if processes.is_main_process else _tell_nobody),
            *callbacks,
        ],
    )
    _check_sharding(trainer, objective, has_second_model=reference_model is not None)
    trainer.remove_callback(PrinterCallback)  # Standard output is the caller's.
    with quiet_about_biases():
        _run(trainer, checkpoint)
        _save(trainer, folder, tokenizer=loaded.tokenizer if lora is None else None)
    return folder


def _prepare_folder(
    folder: Path, metrics: MetricsFile, processes: PartialState
) -> Checkpoint | None:
    """Return the checkpoint to go on from; what is left of a kill is removed by one process."""
    with processes.main_process_first():
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = last_whole_checkpoint(folder)
    metrics.cut_after(-1 if checkpoint is None else checkpoint.step)
    return checkpoint


def _check_sharding(
    trainer: SpilloverTrainer, objective: Objective, *, has_second_model: bool
) -> None:
    """Refuse what would leave processes waiting for each other for ever."""
    is_shared = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    if is_shared and objective.looks_inside and not has_second_model:
        raise ConfigError(
            "this objective looks into the frozen model on retain examples only, so that processes "
            "would make different numbers of passes, which sharded weights do not allow; launch it "
            "with ddp, or use an objective with log-probabilities only, such as npo or anpo"
        )


def _tell_nobody(_step: int) -> None:
    pass


def _bookkeeping(metrics: MetricsFile, report: Callable[[int], None]) -> list[TrainerCallback]:
    return [
        ExplodedLoss(),
        MetricsCallback(metrics.append),
        ProgressCallback(report),
        CheckpointMarker(),
    ]


def _run(trainer: SpilloverTrainer, checkpoint: Checkpoint | None) -> None:
    resume_from = None if checkpoint is None else str(checkpoint.folder)
    with _without_input_casts(trainer.model, autocast=trainer.accelerator.native_amp):
        trainer.train(resume_from_checkpoint=resume_from)


def _without_input_casts(model: Any, *, autocast: bool) -> AbstractContextManager[None]:
    """Keep PEFT from casting each adapter's input to float32 where there is autocast.

    Autocast casts it straight back for the matrix product, so the numbers stay and only memory
    for a float32 copy of every input is saved. Without autocast the casts are needed.
    """
    casting: AbstractContextManager[None] = disable_input_dtype_casting(model, active=autocast)
    return casting


def _save(trainer: SpilloverTrainer, folder: Path, *, tokenizer: Any | None) -> None:
    """Write the result, a whole model if a tokenizer is given, and remove the checkpoints."""
    accelerator = trainer.accelerator
    model: Any = trainer.model
    if is_sharded(trainer.model_wrapped) or trainer.is_deepspeed_enabled:
        trainer.save_model(str(folder))  # Gathers the shards; every process has to take part.
    elif accelerator.is_main_process:
        model.save_pretrained(folder)
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    # PEFT's model card, an empty form; and the Trainer's pickle of its arguments.
    for name in ("README.md", "training_args.bin"):
        (folder / name).unlink(missing_ok=True)
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


def _reference(
    loaded: LoadedModel, units: Sequence[TrainingUnit], processes: PartialState
) -> Reference:
    if processes.num_processes == 1:
        return precomputed_reference(reference_logprobs(loaded, units))
    share = units[processes.process_index :: processes.num_processes]
    shares = gather_object([dict(reference_logprobs(loaded, share))])
    return precomputed_reference({k: value for found in shares for k, value in found.items()})


def _frozen(policy: Any, objective: Objective, reference_model: Any | None) -> FrozenModel | None:
    if not objective.looks_inside:
        return None
    return adapter_off_model(policy) if reference_model is None else second_model(reference_model)


def reference_logprobs(loaded: LoadedModel, units: Sequence[TrainingUnit]) -> Mapping[str, float]:
    """Return the summed log-probability of every forget example under the untouched model.

    That of a chosen response beside one is filed under `chosen_id`.
    """
    unique: dict[str, Example] = {e.id: e for unit in units for e in unit.forget}
    unique |= {chosen_id(e.id): e for unit in units for e in unit.chosen}
    tokens = [loaded.chat.example_ids(e) for e in unique.values()]
    values = dataset_logprobs(loaded.model, tokens, pad_id=loaded.pad_id)
    return dict(zip(unique, values, strict=True))


def _monitor(
    loaded: LoadedModel, monitor: MonitorSettings, metrics: MetricsFile
) -> FirstTokenMonitor:
    return FirstTokenMonitor(
        monitor.prompts,
        chat=loaded.chat,
        reference_model=loaded.model,
        pad_id=loaded.pad_id,
        every=monitor.every,
        emit=metrics.append,
    )
