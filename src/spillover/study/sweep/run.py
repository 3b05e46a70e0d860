"""A study over a grid of settings: many runs, one table.

    DIR/sweep.json              study, grid, seeds
    DIR/studies/<point>.yaml    the resolved study of each point
    DIR/runs/<point>/           its run folder
    DIR/logs/<point>.log        what it wrote to the terminal
    DIR/results.json .parquet   one row a changed model and seed
    DIR/summary.json            means over seeds, differences, the Pareto front
    DIR/failures.json           what failed, and why
    DIR/sweep.html              the page

Every point is checked before the first is run. A run that fails is named and the others go on; the
same command does again only what is not done.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spillover.errors import ConfigError
from spillover.files import read_json, write_bytes, write_json, write_text
from spillover.study.artifacts import RunFolder
from spillover.study.config import StudyConfig, load_study
from spillover.study.runner import study_state
from spillover.study.sweep.jobs import JobOutcome, SweepJob
from spillover.study.sweep.launchers import LaunchSettings, find_launcher
from spillover.study.sweep.page import write_sweep_page
from spillover.study.sweep.points import SweepPoint, grid_points, point_study, sweep_grid
from spillover.study.sweep.results import METRICS, SweepRow, SweepSummary, summarise, sweep_rows
from spillover.study.sweep.stage_sharing import shared_work


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """A checked sweep."""

    study: str
    grid: dict[str, list[Any]]
    points: tuple[SweepPoint, ...]
    configs: dict[str, StudyConfig]
    "By the points' names."
    folder: Path

    def job(self, point: SweepPoint) -> SweepJob:
        """Return what has to be run for a point."""
        return SweepJob(
            name=point.name,
            study=self.folder / "studies" / f"{point.name}.yaml",
            out=self.run_folder(point).path,
            log=self.folder / "logs" / f"{point.name}.log",
            cwd=Path.cwd(),
        )

    def run_folder(self, point: SweepPoint) -> RunFolder:
        """Return where a point's run lies."""
        return RunFolder(self.folder / "runs" / point.name)

    def is_done(self, point: SweepPoint) -> bool:
        """Return whether a point's run is finished and nothing of it has changed."""
        folder = self.run_folder(point)
        if not folder.manifest.exists():
            return False
        return all(state.is_done for state in study_state(self.configs[point.name], folder.path))


@dataclass(frozen=True, kw_only=True)
class SweepResults:
    """What a sweep found."""

    rows: tuple[SweepRow, ...]
    summary: tuple[SweepSummary, ...]
    failures: tuple[JobOutcome, ...]
    page: Path | None = field(default=None)
    "None where no run was finished."


def plan_sweep(
    study: str,
    grid: Sequence[str],
    out: Path,
    *,
    overrides: Sequence[str] = (),
    n_seeds: int | None = None,
    scale: str | None = None,
) -> SweepPlan:
    """Read the grid and check every point of it.

    Args:
        study: A study file, or the name of a bundled study.
        grid: `key=a,b,c` for each key, or a key of the study's own grid; none takes all of that.
        out: The sweep's folder.
        overrides: `key=value`, for all points.
        n_seeds: Seeds 0 to n - 1; None for the study's own.
        scale: Another size of the study, such as `embedded`.

    Raises:
        ConfigError: If grid, study or a point is wrong, or the folder holds another sweep.
    """
    if n_seeds is not None and n_seeds < 1:
        raise ConfigError(f"--seeds is {n_seeds}; give the number of seeds, at least 1")
    published = load_study(study, overrides=overrides, scale=scale).grid
    values = sweep_grid(grid, published)
    points = tuple(grid_points(values))
    configs = {
        point.name: point_study(study, point, overrides=overrides, n_seeds=n_seeds, scale=scale)
        for point in points
    }
    plan = SweepPlan(
        study=study, grid=values, points=points, configs=configs, folder=out.absolute()
    )
    _check_folder(plan)
    return plan


def _check_folder(plan: SweepPlan) -> None:
    folder, name = plan.folder, next(iter(plan.configs.values())).name
    mark = folder / "sweep.json"
    if mark.exists():
        found = read_json(mark)["name"]
        if found != name:
            raise ConfigError(
                f"{folder}: holds a sweep of study {found!r}, not {name!r}; choose another --out"
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: is not empty and holds no sweep.json; choose another --out")


def run_sweep(
    plan: SweepPlan,
    *,
    launcher: str = "local",
    n_jobs: int = 1,
    options: Mapping[str, Any] | None = None,
    report: Callable[[JobOutcome], None] = lambda _outcome: None,
) -> SweepResults:
    """Run what is not done and write tables and page over everything that is.

    Where points train the same aligned model, one of them goes first and the others take it over.

    Args:
        plan: From `plan_sweep`.
        launcher: A key of `LAUNCHERS`.
        n_jobs: Runs at a time.
        options: Resources, in the launcher's words.
        report: Told each outcome as it comes.

    Raises:
        ConfigError: If the launcher cannot be used.
        StorageError: If the folder cannot be written.
    """
    if n_jobs < 1:
        raise ConfigError(f"--jobs is {n_jobs}; give at least 1")
    launch = find_launcher(launcher)
    settings = LaunchSettings(n_jobs=n_jobs, options=options or {}, folder=plan.folder / launcher)
    _write_plan(plan)
    failures = []
    for wave in _waves(plan):
        for outcome in launch([plan.job(point) for point in wave], settings):
            report(outcome)
            failures += [outcome] if outcome.error else []
    return _write_results(plan, failures)


def _write_plan(plan: SweepPlan) -> None:
    for point in plan.points:
        write_text(plan.job(point).study, plan.configs[point.name].to_yaml())
    config = next(iter(plan.configs.values()))
    facts = {"name": config.name, "study": plan.study, "grid": plan.grid, "seeds": config.seeds}
    write_json(plan.folder / "sweep.json", {**facts, "points": [p.to_dict() for p in plan.points]})


def _waves(plan: SweepPlan) -> Iterator[list[SweepPoint]]:
    """Yield points that can run at once: first one for each safety training, then the others."""
    waiting = [point for point in plan.points if not plan.is_done(point)]
    done = {_shared(plan, point) for point in plan.points if point not in waiting}
    leaders: list[SweepPoint] = []
    for point in waiting:
        work = _shared(plan, point)
        if work is not None and work not in done:
            leaders.append(point)
            done.add(work)
    others = [point for point in waiting if point not in leaders]
    yield from (wave for wave in (leaders, others) if wave)


def _shared(plan: SweepPlan, point: SweepPoint) -> str | None:
    return shared_work(plan.configs[point.name], plan.run_folder(point))


def _write_results(plan: SweepPlan, failures: Sequence[JobOutcome]) -> SweepResults:
    failed = {outcome.name for outcome in failures}
    finished = [point for point in plan.points if point.name not in failed and plan.is_done(point)]
    rows = [row for point in finished for row in sweep_rows(point, plan.run_folder(point))]
    summary = summarise(rows)
    write_json(plan.folder / "results.json", [row.to_dict() for row in rows])
    write_bytes(plan.folder / "results.parquet", _parquet(rows, list(plan.grid)))
    write_json(plan.folder / "summary.json", [row.to_dict() for row in summary])
    write_json(plan.folder / "failures.json", [outcome.to_dict() for outcome in failures])
    page = write_sweep_page(plan.folder, plan.study, plan.grid, summary, failures) if rows else None
    return SweepResults(
        rows=tuple(rows), summary=tuple(summary), failures=tuple(failures), page=page
    )


def _parquet(rows: Sequence[SweepRow], keys: Sequence[str]) -> bytes:
    """Return the rows with a column for each key of the grid; what is no number becomes JSON."""
    import pandas as pd

    names = ("point", "model", "seed", *METRICS)
    columns: dict[str, list[Any]] = {n: [getattr(row, n) for row in rows] for n in names}
    for key in keys:
        values = [row.settings[key] for row in rows]
        is_numeric = all(type(value) in (int, float) for value in values)
        columns[key] = values if is_numeric else [json.dumps(value) for value in values]
    content: bytes = pd.DataFrame(columns).to_parquet(index=False)
    return content
