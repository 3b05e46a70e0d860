"""Steps of an audit: each does one thing, is marked when done, and is not done twice.

A step is done if its mark has the key that it would have now and its outputs are as it left them.
What a step was killed in the middle of is done again, on top of the journals of generation. Knows
nothing of what steps do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from spillover import __version__
from spillover.files import file_fingerprint, read_json, write_bytes, write_json
from spillover.study.artifacts import RunFolder
from spillover.study.explaining.models import Role

if TYPE_CHECKING:
    from spillover.models.loading import LoadedModel

RunStep = Callable[["LoadedModel | None"], None]
"Given the step's model, or None where it needs none or a server has it."


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to do."""

    name: str
    title: str
    role: Role
    key: str
    "Changes whenever what it would find does."
    outputs: tuple[Path, ...]
    run: RunStep
    needs_model: bool = True
    seconds: float | None = None
    "Estimated; None where nobody can know."


def is_done(step: Step, folder: RunFolder) -> bool:
    """Whether a step was done with the same inputs and left what is there."""
    mark = folder.stage(step.name)
    if not mark.exists() or not all(path.exists() for path in step.outputs):
        return False
    found = read_json(mark)
    return bool(found["key"] == step.key and found["outputs"] == _states(step, folder))


def mark_done(step: Step, folder: RunFolder, *, seconds: float) -> None:
    """Say on disk that a step is done, and how long it took."""
    mark = {
        "key": step.key,
        "spillover": __version__,
        "seconds": round(seconds, 1),
        "outputs": _states(step, folder),
    }
    write_json(folder.stage(step.name), mark)


def steps_to_do(steps: Sequence[Step], folder: RunFolder) -> list[Step]:
    """Return the steps that are not done, in their order."""
    return [step for step in steps if not is_done(step, folder)]


def _states(step: Step, folder: RunFolder) -> dict[str, str]:
    return {str(p.relative_to(folder.path)): file_fingerprint(p) for p in step.outputs}


def take_over(steps: Sequence[Step], folder: RunFolder, earlier: RunFolder) -> list[Step]:
    """Copy what another audit found of the same model in the same role; return those steps.

    Args:
        steps: Of this audit; those that are done stay as they are.
        folder: Of this audit.
        earlier: Of the other one. Its steps count if they are done there as this audit would do
            them: the same model, prompts, settings and version, and outputs as they were left.
    """
    taken = []
    for step in steps_to_do(steps, folder):
        there = elsewhere(step, folder, earlier)
        if not is_done(there, earlier):
            continue
        for source, target in zip(there.outputs, step.outputs, strict=True):
            write_bytes(target, source.read_bytes())
        mark_done(step, folder, seconds=0.0)
        taken.append(step)
    return taken


def elsewhere(step: Step, folder: RunFolder, other: RunFolder) -> Step:
    """Return a step of `folder` as it would be in another folder."""
    moved = (other.path / path.relative_to(folder.path) for path in step.outputs)
    return replace(step, outputs=tuple(moved))
