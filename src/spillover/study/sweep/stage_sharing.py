"""Takes over from one run what another run of nearly the same study would make again.

Points of a sweep that differ in how they unlearn share prompts, safety training and the aligned
model's answers. A stage is taken over only if its fingerprint, which covers everything that it
depends on, is the same.
"""

import os
import shutil
from pathlib import Path

from spillover.files import fingerprint, read_json, write_text
from spillover.study.artifacts import RunFolder
from spillover.study.config import StudyConfig
from spillover.study.runner.plan import plan_study
from spillover.study.runner.run import stage_key

_COSTLY = ("align-data", "align", "collect")


def adopt_stages(config: StudyConfig, folder: RunFolder, *, donor: RunFolder) -> list[str]:
    """Fill a run folder that does not exist yet with the stages that a finished run has alike.

    Files are linked, not copied: a run never writes into a file that is there.

    Args:
        config: The study of `folder`.
        folder: The new run; left alone if it has begun.
        donor: A finished run, on the same disk.

    Returns:
        Names of the stages taken over.
    """
    if folder.study.exists():
        return []
    adopted: list[str] = []
    for stage in plan_study(config, folder):
        mark = donor.stage(stage.name)
        if not set(stage.needs) <= set(adopted) or not mark.exists():
            continue
        if read_json(mark)["key"] != stage_key(stage, folder):
            continue
        for output in stage.outputs:
            _link(donor.path / output.relative_to(folder.path), output)
        _link(mark, folder.stage(stage.name))
        adopted.append(stage.name)
    if adopted:
        write_text(folder.study, config.to_yaml())
    return adopted


def _link(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, destination, copy_function=os.link, dirs_exist_ok=True)
    else:
        destination.unlink(missing_ok=True)
        os.link(source, destination)


def shared_work(config: StudyConfig, folder: RunFolder) -> str | None:
    """Return what names the safety training of a study and its data; None where it has none.

    Studies with the same name here would train the same aligned model.
    """
    if config.align is None:
        return None
    plan = plan_study(config, folder)
    return fingerprint([(s.name, s.inputs) for s in plan if s.name in _COSTLY])
