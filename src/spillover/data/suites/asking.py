"""From what `--suite` says to the items of the suites that it names.

xstest_safe                    from the hub, at the pinned revision
xstest_safe:prompts.csv        from the user's file
seven_concepts:folder          a group: folder/<suite>.<any format that is read>
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from spillover.data.suites.catalogue import GROUPS, SUITES
from spillover.data.suites.sources import find_file
from spillover.data.suites.suite import Suite
from spillover.errors import DataError
from spillover.records import Prompt, Record
from spillover.seeding import numpy_generator

RecordType = TypeVar("RecordType", bound=Record)


@dataclass(frozen=True, kw_only=True)
class LoadedSuite:
    """A suite with its items."""

    suite: Suite
    items: Sequence[Record]
    file: Path
    "Where they were read from."

    def of(self, kind: type[RecordType]) -> list[RecordType]:
        """Return the items, which are of the kind that the suite's own kind says."""
        return [item for item in self.items if isinstance(item, kind)]


def load_suites(spec: str, *, limit: int | None = None, seed: int = 0) -> list[LoadedSuite]:
    """Read the suite, or all suites of the group, that `spec` names.

    Args:
        spec: `NAME` or `NAME:FILE`; for a group `NAME:FOLDER`.
        limit: Most items of a suite; more are drawn from without replacement, in file order.
        seed: Of that draw.

    Raises:
        DataError: If there is no such suite, its file cannot be had, or it cannot be read.
    """
    name, _, given = spec.partition(":")
    if name in GROUPS:
        files = {part: _in_folder(Path(given), part) if given else None for part in GROUPS[name]}
        return [_load(part, file, limit=limit, seed=seed) for part, file in files.items()]
    return [_load(name, Path(given) if given else None, limit=limit, seed=seed)]


def find_suite(name: str) -> Suite:
    """Return the suite called `name`.

    Raises:
        DataError: If there is none.
    """
    if name not in SUITES:
        raise DataError(
            f"suite {name!r} is not known; choose one of {', '.join([*SUITES, *GROUPS])}"
        )
    return SUITES[name]


def _in_folder(folder: Path, suite: str) -> Path:
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder; a group of suites takes a folder of their files")
    found = sorted(folder.glob(f"{suite}.*"))
    if len(found) != 1:
        raise DataError(
            f"{folder}: holds {len(found)} files called {suite}.*; the group needs exactly one "
            f"for each of its suites; or name the suites one by one"
        )
    return found[0]


def _load(name: str, given: Path | None, *, limit: int | None, seed: int) -> LoadedSuite:
    suite = find_suite(name)
    file = find_file(suite.source, suite=name, given=given)
    items = draw_items(suite.read(file), limit=limit, seed=seed, name=name)
    if suite.kind == "prompts":
        items = [
            replace(item, id=f"{name}/{item.id}") for item in items if isinstance(item, Prompt)
        ]
    return LoadedSuite(suite=suite, items=items, file=file)


def draw_items(
    items: Sequence[RecordType], *, limit: int | None, seed: int, name: str
) -> Sequence[RecordType]:
    """Draw items without replacement, in file order.

    Args:
        items: What to draw from.
        limit: Most items; None for all.
        seed: Of the draw.
        name: Of the set; each has a draw of its own.

    Raises:
        DataError: If `limit` is below 1.
    """
    if limit is None or limit >= len(items):
        return items
    if limit < 1:
        raise DataError(f"limit {limit}: at least one item of a suite is needed")
    rng = numpy_generator(seed, "suite", name)
    return [items[i] for i in sorted(rng.permutation(len(items))[:limit])]
