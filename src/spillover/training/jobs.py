"""One training as a folder, so that any number of processes can run it.

    job.json      model, objective, settings, adapter
    units.jsonl   the schedule

`write_job` makes it, `launch_job` has `accelerate launch` start the processes, and each of them is
`python -m spillover.training.jobs FOLDER`, which calls `train`. It knows no studies.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from spillover import errors
from spillover.errors import ConfigError, DataError, SpilloverError, TrainingError
from spillover.files import read_json, read_jsonl, read_yaml, write_json, write_jsonl
from spillover.records import Example, Prompt, Record
from spillover.training.adapters import AdapterSettings
from spillover.training.batching import TrainingUnit
from spillover.training.processes import end_with_waiting, run_command
from spillover.training.settings import TrainingSettings

if TYPE_CHECKING:
    from spillover.models.loading import LoadedModel

LAUNCH_FILES = Path(__file__).parent / "launch"
"Configurations of `accelerate launch` that come with the package."

_JOB, _UNITS, _FAILURE = "job.json", "units.jsonl", "failure.json"


@dataclass(frozen=True, kw_only=True)
class SharedTraining(Record):
    """What one training is, besides its schedule."""

    model: dict[str, Any]
    "Arguments of `load_model`, its `source` among them."
    start: str | None = None
    "Folder of an adapter that is merged into the model, to start from."
    objective: dict[str, Any]
    "Arguments of `make_objective`, its `name` among them."
    settings: dict[str, Any]
    "Fields of `TrainingSettings`."
    adapter: dict[str, Any] | None
    "Fields of `LoraSettings` or `SteeringSettings`, with `kind`; None trains all weights."
    monitor: tuple[dict[str, Any], ...] = ()
    "Fields of each `Prompt` to watch."
    monitor_every: int = 10
    report_to: str = "none"
    run_name: str | None = None
    "By which the tracker knows it."
    quantise: bool = False
    "Hold the frozen weights in four bits (QLoRA); for adapters only."


def launch_config(name: str) -> Path:
    """Return the file of a launch configuration: one of the package's, or a path to your own.

    Raises:
        ConfigError: If there is neither.
    """
    path = LAUNCH_FILES / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in LAUNCH_FILES.glob("*.yaml")))
        raise ConfigError(f"launch {name!r} is not known; choose one of {known}, or give a file")
    return path


def launch_settings(name: str) -> dict[str, Any]:
    """Return what a launch configuration says; `num_processes` is in it.

    Raises:
        ConfigError: If there is none, or it does not say how many processes.
    """
    path = launch_config(name)
    found = read_yaml(path)
    if not isinstance(found, dict) or not isinstance(found.get("num_processes"), int):
        raise ConfigError(
            f"{path}: no configuration of accelerate launch, which says `num_processes`; write one "
            f"with `accelerate config --config_file {path}`"
        )
    return found


def adapter_fields(adapter: AdapterSettings | None) -> dict[str, Any] | None:
    """Return an adapter's settings as JSON can hold them."""
    return None if adapter is None else {"kind": type(adapter).__name__, **adapter.to_dict()}


def write_job(folder: Path, job: SharedTraining, units: Sequence[TrainingUnit]) -> None:
    """Write a job's two files; its results will lie beside them."""
    rows = (
        {
            role: [example.to_dict() for example in getattr(unit, role)]
            for role in ("forget", "retain", "chosen")
        }
        for unit in units
    )
    write_jsonl(folder / _UNITS, rows)
    write_json(folder / _JOB, job.to_dict())


def run_job(folder: Path) -> Path:
    """Train what a folder describes, in this process or as one of several; return the folder.

    Raises:
        DataError: If the folder holds no job.
        SpilloverError: Whatever `train` raises.
    """
    from spillover.training.objectives import make_objective
    from spillover.training.train import MonitorSettings, train

    job = read_job(folder)
    objective = make_objective(**job.objective)
    watched = tuple(Prompt.from_dict(row) for row in job.monitor)
    second = objective.looks_inside and job.adapter is None
    return train(
        _load_quantised(job) if job.quantise else _load(job.model, job),
        _read_units(folder / _UNITS),
        objective=objective,
        folder=folder,
        settings=TrainingSettings.from_dict(job.settings),
        lora=_read_adapter(job.adapter),
        monitor=MonitorSettings(prompts=watched, every=job.monitor_every) if watched else None,
        reference_model=_load(job.model, job).model if second else None,
        report_to=job.report_to,
        run_name=job.run_name,
    )


def read_job(folder: Path) -> SharedTraining:
    """Return what `write_job` wrote, without the schedule.

    Raises:
        DataError: If the folder holds no job.
    """
    if not (folder / _JOB).exists():
        raise DataError(f"{folder}: no {_JOB}; write a job there first")
    row = read_json(folder / _JOB)
    return SharedTraining.from_dict({**row, "monitor": tuple(row["monitor"])})


def remove_job(folder: Path) -> None:
    """Remove a job's own files, so that its results alone are left."""
    for name in (_JOB, _UNITS, _FAILURE):
        (folder / name).unlink(missing_ok=True)


def _load(arguments: Mapping[str, Any], job: SharedTraining) -> "LoadedModel":
    from spillover.models.loading import load_model
    from spillover.models.merged import with_adapter

    loaded = load_model(**arguments)
    return loaded if job.start is None else with_adapter(loaded, Path(job.start))


def _load_quantised(job: SharedTraining) -> "LoadedModel":
    from spillover.models.quantising import quantised
    from spillover.tensors import parse_device

    if job.adapter is None:
        raise ConfigError("quantise: weights in four bits cannot be trained; give an adapter")
    # The whole model may be too large for the device that it fits on in four bits.
    loaded = _load({**job.model, "device": "cpu"}, job)
    return quantised(loaded, device=parse_device(job.model.get("device", "auto")))


def _read_units(path: Path) -> list[TrainingUnit]:
    return [
        TrainingUnit(
            **{role: tuple(map(Example.from_dict, examples)) for role, examples in row.items()}
        )
        for _, row in read_jsonl(path)
    ]


def _read_adapter(fields: Mapping[str, Any] | None) -> AdapterSettings | None:
    if fields is None:
        return None
    kinds = {kind.__name__: kind for kind in get_args(AdapterSettings)}
    # JSON has lists only; the settings have tuples.
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    adapter: AdapterSettings = kinds[fields["kind"]].from_dict(values)
    return adapter


def launch_job(
    folder: Path,
    *,
    launch: str,
    n_processes: int | None = None,
    options: Sequence[str] = (),
    report: Callable[[int], None] = lambda _step: None,
) -> Path:
    """Have `accelerate launch` run a job in several processes and wait for them.

    Whatever is raised here meanwhile, such as Ctrl-C's KeyboardInterrupt, ends them; a later launch
    goes on from their last whole checkpoint.

    Args:
        folder: Made by `write_job`.
        launch: Name of a launch configuration of the package, or a file.
        n_processes: In place of the configuration's.
        options: More options of `accelerate launch`, such as those for several machines.
        report: Told the optimizer steps done.

    Raises:
        ConfigError: If there is no such configuration, or it starts fewer processes than it says.
        SpilloverError: If a process fails: its own error, or a `TrainingError`.
    """
    (folder / _FAILURE).unlink(missing_ok=True)
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    command += ["--config_file", str(launch_config(launch))]
    command += [] if n_processes is None else ["--num_processes", str(n_processes)]
    # Else two launches on one machine would meet at one port.
    command += [] if "--num_machines" in options else ["--main_process_port", "0"]
    expected = n_processes or launch_settings(launch)["num_processes"]
    command += [*options, "-m", __name__, str(folder), str(expected)]
    ended = run_command(command, on_wait=lambda: report(_steps_done(folder / "metrics.jsonl")))
    if ended.code != 0:
        raise _failure(folder, launch, ended.messages)
    return folder


def _steps_done(metrics: Path) -> int:
    """Return the last step in a file that another process may be writing to."""
    lines = metrics.read_bytes().split(b"\n")[:-1] if metrics.exists() else []
    return max((json.loads(line)["step"] for line in lines[-1:]), default=0)


def _failure(folder: Path, launch: str, messages: str) -> SpilloverError:
    if not (folder / _FAILURE).exists():
        said = f"a process ended without a word of its own; the last it wrote: {messages[-1500:]}"
        return TrainingError(f"launch {launch!r}: {said}")
    found = read_json(folder / _FAILURE)
    kind: type[SpilloverError] = getattr(errors, found["error"], TrainingError)
    return kind(f"launch {launch!r}: {found['message']}")


def main() -> None:
    """Run the job in the folder that the command line names; leave the reason if it fails."""
    end_with_waiting()
    folder, expected = Path(sys.argv[1]), int(sys.argv[2])
    _take_own_gpu()
    try:
        _check_processes(expected)
        run_job(folder)
    except (SpilloverError, ValueError) as error:
        write_json(folder / _FAILURE, {"error": type(error).__name__, "message": str(error)})
        sys.exit(error.exit_code if isinstance(error, SpilloverError) else 1)
    if "LOCAL_RANK" in os.environ:
        import torch

        torch.distributed.destroy_process_group()


def _check_processes(expected: int) -> None:
    """Check that there are as many processes as were asked for.

    `accelerate launch` starts a single one, without a word, where a configuration's
    `distributed_type` does not go with the rest of it.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != expected:
        raise ConfigError(
            f"{started} process was started in place of {expected}; give the configuration another "
            "`distributed_type`, such as MULTI_GPU (with `use_cpu: true` for processors)"
        )


def _take_own_gpu() -> None:
    """Make this process's GPU the one that `cuda` means, before anything is loaded."""
    import torch

    if "LOCAL_RANK" in os.environ and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())


if __name__ == "__main__":
    main()
