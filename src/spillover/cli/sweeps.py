"""`spillover sweep`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from spillover.cli.app import app, console, errors, resumable, say
from spillover.errors import ConfigError

if TYPE_CHECKING:
    from spillover.study.sweep.jobs import JobOutcome
    from spillover.study.sweep.results import SweepSummary

_SHOWN = {
    "target_effect": "target effect",
    "erosion": "erosion",
    "capability_loss": "capability loss",
}


@app.command()
def sweep(
    study: Annotated[str, typer.Argument(help="A study file, or a bundled study.")],
    out: Annotated[Path, typer.Option(help="Folder of the sweep.")],
    grid: Annotated[
        list[str] | None,
        typer.Option(help="key=a,b,c, or a key of the study's grid; repeatable [the study's]."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Number of seeds, from 0 [the study's].")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="key=value for all points.")
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="Another size of the study, such as embedded.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Runs at a time.")] = 1,
    launcher: Annotated[str, typer.Option(help="local, ray or slurm.")] = "local",
    resource: Annotated[
        list[str] | None,
        typer.Option(help="key=value for Ray or submitit, such as slurm_partition=gpu."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, run nothing.")] = False,
) -> None:
    """Run a study over a grid of settings; show the Pareto front of effect against damage."""
    from spillover.study.sweep import plan_sweep, run_sweep

    plan = plan_sweep(study, grid or (), out, overrides=override or (), n_seeds=seeds, scale=scale)
    if dry_run:
        for point in plan.points:
            say(f"{'done ' if plan.is_done(point) else 'to do'}  {point.name}")
        return
    with resumable():
        results = run_sweep(
            plan,
            launcher=launcher,
            n_jobs=jobs,
            options=_options(resource or ()),
            report=_report,
        )
    print_summary(results.summary, keys=list(plan.grid))
    if results.page is not None:
        say(f"page: {results.page}")
    if results.failures:
        for outcome in results.failures:
            errors.print(f"failed: {escape(outcome.name)}: {escape(outcome.error)}", soft_wrap=True)
        raise typer.Exit(1)


def _options(pairs: Sequence[str]) -> Mapping[str, Any]:
    from spillover.files import parse_yaml

    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"--resource {pair!r}: write key=value, such as num_gpus=1")
        found[key] = parse_yaml(value, where=f"--resource {pair!r}")
    return found


def _report(outcome: "JobOutcome") -> None:
    state = f"failed: {outcome.error}" if outcome.error else f"done in {outcome.seconds:.0f} s"
    errors.print(f"{outcome.name}: {state}", markup=False, highlight=False, soft_wrap=True)


def print_summary(summary: "Sequence[SweepSummary]", *, keys: Sequence[str]) -> None:
    """Print one line a point and model, means over seeds with 95% intervals; * marks the front."""
    if not summary:
        return
    table = Table(*keys, "model", *_SHOWN.values(), "seeds", "front")
    cells: dict[tuple[str, str], dict[str, SweepSummary]] = {}
    for row in summary:
        cells.setdefault((row.point, row.model), {})[row.metric] = row
    for (_, model), found in cells.items():
        first = next(iter(found.values()))
        table.add_row(
            *(escape(str(value)) for value in first.settings.values()),
            escape(model),
            *(_number(found[metric]) for metric in _SHOWN),
            str(max(row.n for row in found.values())),
            "*" if first.is_on_front else "",
        )
    console.print(table)


def _number(row: "SweepSummary") -> str:
    if row.mean is None:
        return "-"
    interval = "" if row.ci_low is None else f" ({row.ci_low:.2f} to {row.ci_high:.2f})"
    return f"{row.mean:+.2f}{interval}"
