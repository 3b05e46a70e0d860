"""Runs a study's stages in order, skips what is done, and goes on where a run was stopped.

A stage is done when its mark in `stages/` has the fingerprint of its inputs and of everything it
needs, and its outputs are there. A stage that was started with the same fingerprint goes on with
what it left behind; with another one, it starts afresh.
"""

import errno
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError

from spillover import __version__
from spillover.errors import ConfigError, StorageError, TrainingError
from spillover.files import (
    file_fingerprint,
    fingerprint,
    folder_fingerprint,
    read_json,
    write_json,
    write_text,
)
from spillover.memory import peak_bytes, release_freed_memory, start_peak
from spillover.study.artifacts import RunFolder
from spillover.study.artifacts.lock import folder_lock
from spillover.study.artifacts.manifest import describe_environment
from spillover.study.artifacts.version import check_version
from spillover.study.config import StudyConfig, study_name
from spillover.study.evaluation.page import write_report
from spillover.study.progress import Reporter
from spillover.study.runner.plan import plan_study
from spillover.study.runner.tuning_plan import missing_files
from spillover.study.stages.context import Context
from spillover.study.stages.stage import Stage
from spillover.study.training.scale_checks import check_machine

_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")
"What `files.write_bytes` names a file before it is whole."

_ALMOST_NOTHING = 1 << 20
"Bytes; a disk with less has no room for what a model writes."


class StageState(NamedTuple):
    """One stage of a plan and whether it has to run."""

    name: str
    is_done: bool


def run_study(config: StudyConfig, out: Path, *, reporter: Reporter | None = None) -> Path:
    """Run what is not done yet and write the report.

    Args:
        config: The study.
        out: The run folder; made if missing.
        reporter: Where progress is shown; None for the terminal.

    Returns:
        The report's path.

    Raises:
        ConfigError: If the folder holds another study or something else.
        InputError: If a file of prompts, questions or training data is missing or wrong.
        StorageError: If another process is at work in the folder, it cannot be written, or the
            disk is full.
    """
    folder = RunFolder(out)
    _check_folder(config, folder)
    _check_files(config)
    plan = plan_study(config, folder)
    if not all(_is_done(stage, plan, folder) for stage in plan):
        check_machine(config)
    with folder_lock(out):
        _remove_leftovers(out)
        write_text(folder.study, config.to_yaml())
        if not all(_is_done(stage, plan, folder) for stage in plan):
            folder.manifest.unlink(missing_ok=True)  # From here on the run is not a finished one.
        context = Context(config=config, folder=folder, reporter=reporter or Reporter())
        for number, stage in enumerate(plan, start=1):
            _run_stage(stage, context, plan, place=f"{number}/{len(plan)}")
        write_json(folder.manifest, _manifest(config, folder, plan))
        return write_report(folder)


def study_state(config: StudyConfig, out: Path) -> list[StageState]:
    """Return each stage and whether it is done, without running or writing anything."""
    folder = RunFolder(out)
    _check_folder(config, folder)
    plan = plan_study(config, folder)
    return [StageState(stage.name, _is_done(stage, plan, folder)) for stage in plan]


def _check_files(config: StudyConfig) -> None:
    missing = [f"{key}: {file}" for key, file in missing_files(config).items()]
    if missing:
        raise ConfigError(
            f"training data are missing: {'; '.join(missing)}; put the files there (the study says "
            "where they are published), or name yours with --set"
        )


def _check_folder(config: StudyConfig, folder: RunFolder) -> None:
    if folder.path.exists() and not folder.path.is_dir():
        raise ConfigError(f"{folder.path}: is a file; choose another --out")
    if folder.study.exists():
        check_version(folder)
        found = study_name(folder.study)
        if found != config.name:
            raise ConfigError(
                f"{folder.path}: holds a run of study {found!r}, not {config.name!r}; "
                "choose another --out"
            )
    elif folder.path.is_dir() and any(p.name != ".lock" for p in folder.path.iterdir()):
        raise ConfigError(
            f"{folder.path}: is not empty and holds no study.yaml; choose another --out"
        )


def _remove_leftovers(out: Path) -> None:
    """Remove the temporary files of writes that a kill cut short; call it under the lock."""
    for path in out.rglob(".*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink()


def _run_stage(stage: Stage, context: Context, plan: Sequence[Stage], *, place: str) -> None:
    folder = context.folder
    if _is_done(stage, plan, folder):
        context.reporter.say(f"[dim]{place} {stage.name}: done before[/dim]")
        return
    key = stage_key(stage, folder)
    started = folder.stage(stage.name).with_suffix(".started.json")
    # First of all: a mark that stayed would call what is made from here on its own.
    folder.stage(stage.name).unlink(missing_ok=True)
    if not started.exists() or read_json(started)["key"] != key:
        for path in stage.outputs:
            _remove(path)
        write_json(started, {"key": key, "seconds": 0.0})
    before = float(read_json(started)["seconds"])
    begin = time.monotonic()
    start_peak()
    try:
        with _naming_full_disk(stage.name, folder.path):
            stage.run(context)
    finally:
        seconds = before + time.monotonic() - begin
        with suppress(StorageError):  # The error on its way, if any, says more.
            write_json(started, {"key": key, "seconds": seconds})
    outputs = {_relative(path, folder): _state(path) for path in stage.outputs}
    mark = {
        "key": key,
        "spillover": __version__,
        "outputs": outputs,
        "seconds": round(seconds, 1),
        "peak_bytes": peak_bytes(),
    }
    write_json(folder.stage(stage.name), mark)
    started.unlink()
    release_freed_memory(collect=True)  # The stage's model; the next one loads its own.
    context.reporter.say(f"{place} {stage.name}: done in {seconds:.0f} s")


@contextmanager
def _naming_full_disk(stage: str, out: Path) -> Iterator[None]:
    """Turn what libraries raise when the disk is full, each its own, into one clear error."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError, TrainingError) as error:
        if not _is_full(error, out):
            raise
        raise StorageError(
            f"{out}: the disk became full in stage {stage!r}; free some space and give the same "
            "command again, it goes on where it was"
        ) from error


def _is_full(error: Exception, out: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # The writers of safetensors and torch say it in words only, torch's not even that; what a
    # launched process met is known by its last words.
    return shutil.disk_usage(out).free < _ALMOST_NOTHING


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _relative(path: Path, folder: RunFolder) -> str:
    return str(path.relative_to(folder.path))


def _state(path: Path) -> str:
    """Return the content hash of a file, or of a model folder."""
    if path.is_dir():
        return folder_fingerprint(path, suffixes=(".safetensors", ".json", ".jsonl"))
    return file_fingerprint(path)


def stage_key(stage: Stage, folder: RunFolder) -> str:
    """Return the fingerprint of everything that a stage depends on; what it needs must be done."""
    needed = {name: read_json(folder.stage(name))["outputs"] for name in stage.needs}
    return fingerprint([__version__, stage.name, stage.inputs, needed])


def _is_done(stage: Stage, plan: Sequence[Stage], folder: RunFolder) -> bool:
    by_name = {s.name: s for s in plan}
    if not folder.stage(stage.name).exists():
        return False
    if not all(_is_done(by_name[name], plan, folder) for name in stage.needs):
        return False
    mark = read_json(folder.stage(stage.name))
    there = all(path.exists() for path in stage.outputs)
    return there and bool(mark["key"] == stage_key(stage, folder))


def _manifest(config: StudyConfig, folder: RunFolder, plan: Sequence[Stage]) -> dict[str, Any]:
    marks = {stage.name: read_json(folder.stage(stage.name)) for stage in plan}
    return {
        "study": config.name,
        "study_sha256": file_fingerprint(folder.study),
        "seeds": list(config.seeds),
        **describe_environment(),
        "seconds_by_stage": {name: mark["seconds"] for name, mark in marks.items()},
        # Stages of before peaks were taken have none.
        "peak_bytes_by_stage": {name: mark.get("peak_bytes") for name, mark in marks.items()},
        "seconds": round(sum(mark["seconds"] for mark in marks.values()), 1),
        "outputs_sha256": {k: v for mark in marks.values() for k, v in mark["outputs"].items()},
    }
