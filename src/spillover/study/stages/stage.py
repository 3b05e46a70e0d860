"""One stage of a study, and what many stages depend on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spillover.files import file_fingerprint, fingerprint
from spillover.judges import make_judge
from spillover.study.artifacts import RunFolder
from spillover.study.config import StudyConfig
from spillover.study.config.model_runs import ModelRun
from spillover.study.config.sections import ModelSection
from spillover.study.stages.context import Context
from spillover.study.stages.datasets import selection_pairs, selection_questions


@dataclass(frozen=True)
class Stage:
    """One step of a study."""

    name: str
    inputs: dict[str, Any]
    "The part of the configuration that it depends on."
    needs: tuple[str, ...]
    "Stages whose outputs it reads."
    outputs: tuple[Path, ...]
    "Files and folders that it makes."
    run: Callable[[Context], None]


def model_inputs(section: ModelSection) -> dict[str, Any]:
    """Return what a model depends on."""
    # The device does not change what is asked for, and runs may move between machines.
    local = [section.source, section.adapter, section.chat_template]
    return {
        "model": section.model_dump(exclude={"device"}),
        "files": [_local_state(path) for path in local],
    }


def _local_state(source: str | None) -> list[tuple[str, int, int]]:
    """Return name, size and time of a local model's files, cheap enough to ask at every start."""
    path = Path(source or "")
    files = sorted(path.iterdir()) if source and path.is_dir() else [path]
    stats = [(file.name, file.stat()) for file in files if file.is_file()]
    return [(name, found.st_size, found.st_mtime_ns) for name, found in stats]


def file_state(file: Path) -> str | None:
    """Return a file's hash; None while it is missing, which `missing_files` tells of."""
    return file_fingerprint(file) if file.is_file() else None


def judge_inputs(spec: str | dict[str, Any]) -> Any:
    """Return what verdicts depend on; building the judge here finds mistakes before any training.

    Raises:
        InputError: If the judge's settings break a rule.
    """
    name = make_judge(spec).name  # Holds the versions of its rubrics.
    return spec if name == spec else [spec, name]


def held_out_inputs(config: StudyConfig) -> dict[str, Any]:
    """Return what decides which training prompts are kept out of training; empty where none are."""
    return {} if config.select is None else {"held_out": config.select.held_out}


def selection_inputs(config: StudyConfig) -> dict[str, Any]:
    """Return what the choice of a checkpoint depends on; empty where the last step is kept.

    Raises:
        InputError: If the questions or pairs cannot be had, or the judge's settings break a rule.
    """
    section = config.select
    if section is None:
        return {}
    measured = [*selection_questions(section), *selection_pairs(section)]
    return {
        "select": section.model_dump(exclude={"judge"}),
        "select_judge": judge_inputs(section.judge),
        "select_items": fingerprint([item.to_dict() for item in measured]),
    }


def aligned_folder(config: StudyConfig, folder: RunFolder) -> Path | None:
    """Return the aligned model's folder; None where the study's model is aligned already."""
    return None if config.align is None else folder.model("aligned")


@dataclass(frozen=True)
class MadeModel:
    """Where a model lies, and the stage that makes it."""

    folder: Path | None
    "None for the study's own model."
    made_by: tuple[str, ...]


def made_model(config: StudyConfig, folder: RunFolder, run: ModelRun) -> MadeModel:
    """Return where one of the study's models lies."""
    if run.role == "base":
        return MadeModel(None, ())
    if run.role == "aligned":
        made = aligned_folder(config, folder)
        return MadeModel(made, () if made is None else ("align",))
    return MadeModel(folder.model(run.artifact), (run.artifact,))
