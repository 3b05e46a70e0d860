"""One training as a folder, so that any number of processes can run it.

    job.json      model, objective, settings, adapter
    units.jsonl   the schedule

`write_job` makes it, `launch_job` has `accelerate launch` start the processes, and each of them is
`python -m spillover.training.jobs FOLDER`, which calls `train`. It knows no studies.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from spillover.errors import ConfigError, DataError, SpilloverError, TrainingError
from spillover.files import read_json, read_jsonl, write_json, write_jsonl, write_text
from spillover.records import Example, Prompt, Record
from spillover.training.adapters import AdapterSettings
from spillover.training.batching import TrainingUnit
from spillover.training.settings import TrainingSettings

if TYPE_CHECKING:
    from spillover.models.loading import LoadedModel

LAUNCH_FILES = Path(__file__).parent / "launch"
"Configurations of `accelerate launch` that come with the package."

_FAILURE = "failure.txt"


@dataclass(frozen=True, kw_only=True)
class SharedTraining(Record):
    """What one training is, besides its schedule."""

    model: dict[str, Any]
    "Arguments of `load_model`, its `source` among them."
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
    write_jsonl(folder / "units.jsonl", rows)
    write_json(folder / "job.json", job.to_dict())


def run_job(folder: Path) -> Path:
    """Train what a folder describes, in this process or as one of several; return the folder.

    Raises:
        DataError: If the folder holds no job.
        SpilloverError: Whatever `train` raises.
    """
    from spillover.models.loading import load_model
    from spillover.training.objectives import make_objective
    from spillover.training.train import MonitorSettings, train

    if not (folder / "job.json").exists():
        raise DataError(f"{folder}: no job.json; write a job there first")
    row = read_json(folder / "job.json")
    job = SharedTraining.from_dict({**row, "monitor": tuple(row["monitor"])})
    watched = tuple(Prompt.from_dict(row) for row in job.monitor)
    return train(
        _load_quantised(job) if job.quantise else load_model(**job.model),
        _read_units(folder / "units.jsonl"),
        objective=make_objective(**job.objective),
        folder=folder,
        settings=TrainingSettings.from_dict(job.settings),
        lora=_read_adapter(job.adapter),
        monitor=MonitorSettings(prompts=watched, every=job.monitor_every) if watched else None,
        report_to=job.report_to,
    )


def _load_quantised(job: SharedTraining) -> "LoadedModel":
    from spillover.models.loading import load_model
    from spillover.models.quantising import quantised
    from spillover.tensors import parse_device

    if job.adapter is None:
        raise ConfigError("quantise: weights in four bits cannot be trained; give an adapter")
    # The whole model may be too large for the device that it fits on in four bits.
    loaded = load_model(**{**job.model, "device": "cpu"})
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
) -> Path:
    """Have `accelerate launch` run a job in several processes and wait for them.

    Args:
        folder: Made by `write_job`.
        launch: Name of a launch configuration of the package, or a file.
        n_processes: In place of the configuration's.
        options: More options of `accelerate launch`, such as those for several machines.

    Raises:
        ConfigError: If there is no such configuration.
        TrainingError: If a process fails; the message is that process's own.
    """
    (folder / _FAILURE).unlink(missing_ok=True)
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    command += ["--config_file", str(launch_config(launch))]
    command += [] if n_processes is None else ["--num_processes", str(n_processes)]
    command += [*options, "-m", __name__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TrainingError(f"launch {launch!r}: {_reason(folder, done.stderr)}")
    return folder


def _reason(folder: Path, messages: str) -> str:
    failure = folder / _FAILURE
    if failure.exists():
        return failure.read_text(encoding="utf-8")
    return f"a process ended without a word of its own; the last it wrote: {messages[-1500:]}"


def main() -> None:
    """Run the job in the folder that the command line names; leave the reason if it fails."""
    folder = Path(sys.argv[1])
    try:
        run_job(folder)
    except (SpilloverError, ValueError) as error:
        write_text(folder / _FAILURE, str(error))
        sys.exit(error.exit_code if isinstance(error, SpilloverError) else 1)
    if "LOCAL_RANK" in os.environ:
        import torch

        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
