"""Takes over from finished runs what another run of nearly the same study would make again.

Points of a sweep that differ in how they unlearn share prompts, safety training and the aligned
model's answers. A stage is taken over only if its fingerprint, which covers everything that it
depends on, is the same.
"""

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from spillover.files import fingerprint, read_json, write_text
from spillover.study.artifacts import RunFolder
from spillover.study.config import StudyConfig
from spillover.study.runner.plan import plan_study
from spillover.study.runner.run import stage_key
from spillover.study.stages.stage import Stage

_COSTLY = ("align-data", "align", "collect")

_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)
"What a disk says that has no hard links, or none to there."


def adopt_stages(
    config: StudyConfig, folder: RunFolder, *, donors: Sequence[RunFolder]
) -> list[str]:
    """Fill a run folder that does not exist yet with the stages that finished runs have alike.

    Files are linked where the disk can do that, as a run never writes into a file that is there.
    A kill on the way leaves no half run: all is gathered beside the folder, which is then renamed.

    Args:
        config: The study of `folder`.
        folder: The new run; left alone if it is there.
        donors: Finished runs; each stage is taken from the first that has it.

    Returns:
        Names of the stages taken over.
    """
    if folder.path.exists():
        return []
    gathered = RunFolder(folder.path.with_name(f".{folder.path.name}.gathered"))
    if gathered.path.exists():  # By a start that was killed.
        shutil.rmtree(gathered.path)
    adopted = _gather(config, gathered, donors)
    if adopted:
        write_text(gathered.study, config.to_yaml())
        gathered.path.rename(folder.path)
    return adopted


def _gather(config: StudyConfig, folder: RunFolder, donors: Sequence[RunFolder]) -> list[str]:
    adopted: list[str] = []
    for stage in plan_study(config, folder):
        donor = _donor(stage, folder, donors) if set(stage.needs) <= set(adopted) else None
        if donor is None:
            continue
        for output in stage.outputs:
            _take(donor.path / output.relative_to(folder.path), output)
        _take(donor.stage(stage.name), folder.stage(stage.name))
        adopted.append(stage.name)
    return adopted


def _donor(stage: Stage, folder: RunFolder, donors: Sequence[RunFolder]) -> RunFolder | None:
    """Return the first run that has made just this stage, if there is one."""
    key = stage_key(stage, folder)
    marks = ((donor, donor.stage(stage.name)) for donor in donors)
    return next((d for d, mark in marks if mark.exists() and read_json(mark)["key"] == key), None)


def _take(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, destination, copy_function=_link_or_copy)
    else:
        _link_or_copy(source, destination)


def _link_or_copy(source: str | Path, destination: str | Path) -> None:
    try:
        os.link(source, destination)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(source, destination)


def shared_work(config: StudyConfig, folder: RunFolder) -> str | None:
    """Return what names the safety training of a study and its data; None where it has none.

    Studies with the same name here would train the same aligned model.
    """
    if config.align is None:
        return None
    plan = plan_study(config, folder)
    return fingerprint([(s.name, s.inputs) for s in plan if s.name in _COSTLY])
