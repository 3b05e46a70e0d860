"""Comparisons of studies to measured erosion, which predictions are held against."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spillover.records import Comparison
from spillover.study.artifacts import load_comparisons

if TYPE_CHECKING:
    from spillover.analysis.erosion_pairs import MeasuredErosion


def measured_from(comparisons: Sequence[Comparison], *, of: str = "") -> "list[MeasuredErosion]":
    """Read erosion off a study's comparisons; targets are in the names of its models.

    Models that were not tuned on one of the concepts, such as `tuned-insecure`, have no target
    whose entanglement could foretell anything, and are left out.

    Args:
        comparisons: Of one study.
        of: Its name, put before those of its interventions; for when there are several studies.
    """
    from dataclasses import replace

    from spillover.analysis.erosion_pairs import measured_erosion

    rows = [row for row in comparisons if row.before == "aligned"]
    concepts = {row.concept for row in rows}
    targets = {row.after: row.after.partition("-")[2] for row in rows}
    targets = {model: target for model, target in targets.items() if target in concepts}
    found = measured_erosion(rows, target_by_model=targets)
    return [replace(row, intervention=f"{of}/{row.intervention}") for row in found] if of else found


def measured_in(paths: Sequence[Path]) -> "list[MeasuredErosion]":
    """Read erosion off `comparisons.json` of any number of studies, or of the points of a sweep.

    Where there are several, interventions are told apart by the names of the files' folders.
    """
    return [
        row
        for path in paths
        for row in measured_from(
            load_comparisons(path), of=path.resolve().parent.name if len(paths) > 1 else ""
        )
    ]
